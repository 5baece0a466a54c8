"""Finished outputs: recognised, downloaded, converted, named, stored, shown."""
