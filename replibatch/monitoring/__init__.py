"""Flower with a page of the project's own: extended through its settings and its list of handlers, not forked."""
