"""A document: encode once, edit many, undo, save."""
