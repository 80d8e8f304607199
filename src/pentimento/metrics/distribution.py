"""How far two sets of pictures are from each other, without a network.

The feature space is that of small patches: 7 × 7 pixels with all channels, at the full size and at
each of two halvings.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PATCH: Final = 7
_PER_PICTURE: Final = 64
_DIRECTIONS: Final = 64
_LEVELS: Final = 3


class SlicedWasserstein:
    """Sliced Wasserstein distance of patches (Rabin et al. 2011; Karras et al. 2018, appendix B).

    The same patches and directions are drawn every time, so that equal sets give equal numbers.
    Differs: the levels are plain halvings, not a Laplacian pyramid, so that colours count as well.
    """

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._reals: list[list[NDArray[Any]]] = [[] for _ in range(_LEVELS)]
        self._fakes: list[list[NDArray[Any]]] = [[] for _ in range(_LEVELS)]

    def add(self, real: NDArray[Any], fake: NDArray[Any]) -> None:
        """Take in a picture of each set; they need not belong together.

        Args:
            real: (H, W, C) in [0, 1], at least 28 pixels on each side.
            fake: the same.
        """
        for level in range(_LEVELS):
            places = self._rng.random((_PER_PICTURE, 2))
            self._reals[level].append(_patches(real, places))
            self._fakes[level].append(_patches(fake, places))
            real, fake = _halved(real), _halved(fake)

    def value(self) -> float:
        """Return the distance, averaged over levels and directions; 0 for equal sets."""
        rng = np.random.default_rng(1)
        distances = []
        for level in range(_LEVELS):
            reals, fakes = np.concatenate(self._reals[level]), np.concatenate(self._fakes[level])
            directions = rng.standard_normal((reals.shape[1], _DIRECTIONS))
            directions /= np.linalg.norm(directions, axis=0)
            gaps = np.sort(reals @ directions, 0) - np.sort(fakes @ directions, 0)
            distances.append(np.abs(gaps).mean())
        return float(np.mean(distances))


def _patches(picture: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    spare = np.array(picture.shape[:2]) - _PATCH + 1
    if (spare < 1).any():
        raise ValueError(f"pictures need 28 pixels on each side, got {picture.shape} after halving")
    corners = (places * spare).astype(int)
    return np.stack([picture[y : y + _PATCH, x : x + _PATCH].ravel() for y, x in corners])


def _halved(picture: NDArray[Any]) -> NDArray[Any]:
    height, width, channels = picture.shape
    even = picture[: height // 2 * 2, : width // 2 * 2]
    quads = even.reshape(height // 2, 2, width // 2, 2, channels)
    return np.asarray(quads.mean((1, 3)))
