"""Change some blocks of a JPEG file and keep the others' coefficients."""

from typing import Any

from numpy.typing import NDArray


def graft(
    source: bytes, before: NDArray[Any], after: NDArray[Any], exif: bytes | None
) -> bytes | None:
    """Return None: to come."""
    return None
