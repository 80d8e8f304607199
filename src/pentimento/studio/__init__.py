"""The studio: a local page that edits through the same session as the command line."""
