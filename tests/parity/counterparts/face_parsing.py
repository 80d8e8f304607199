"""Face parsing: U-Net and BiSeNet."""

from parity.counterparts import Build

COUNTERPARTS: dict[str, Build] = {}
