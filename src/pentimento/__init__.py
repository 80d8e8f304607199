"""Pentimento: see a picture, change a region, repaint it."""

__version__ = "0.1.0"
