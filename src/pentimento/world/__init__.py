"""A seed becomes a picture and every truth about it."""
