"""The systems: one system, one file."""
