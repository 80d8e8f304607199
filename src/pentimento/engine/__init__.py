"""Training mechanics, on Lightning Fabric. Imports no system."""
