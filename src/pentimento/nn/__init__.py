"""Modules that have a third user."""
