"""What every system of the catalogue keeps."""
