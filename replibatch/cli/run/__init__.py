"""What `run` and `submit` do: plan a list, enqueue it, follow it, write its results."""
