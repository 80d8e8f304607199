"""Systems that paint."""
