"""Systems that see."""
