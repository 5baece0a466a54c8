"""Claims that are measured: each module is a command, `python -m benchmarks.<name>`."""
