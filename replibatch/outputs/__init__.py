"""Finished outputs: recognised, downloaded, converted, saved."""
