"""Reading and writing pictures and masks."""
