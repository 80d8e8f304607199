"""x."""
from parity.counterparts import Build
COUNTERPARTS: dict[str, Build] = {}
