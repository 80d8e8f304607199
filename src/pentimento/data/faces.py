"""Faces with 19-class label maps: the sample that parsing and portrait systems train on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FaceSample:
    """One aligned face.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        labels: (S, S) uint8, CelebAMask-HQ order, `IGNORE` where nothing is known.
        person: who it is, for splits by person; the file's stem where nothing better is known.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    person: str
