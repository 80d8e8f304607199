"""How different two pictures look to a trained network: LPIPS without its downloads.

Differs from LPIPS (Zhang et al. 2018): the network is the bundled one, or a file of VGG; levels and
channels count alike, instead of by weights fitted to people's choices. Numbers of different
networks are not comparable, nor are they with LPIPS's: name the judge beside them.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pentimento.losses.perceptual import Judge, check_judge, look_alike


class PerceptualDistance:
    """The distance of pictures in the features of one judge.

    Args:
        judge: `features` (bundled), `vgg16:FILE` or `vgg19:FILE`.

    Raises:
        ValueError: no such judge.
    """

    def __init__(self, judge: str = "features") -> None:
        check_judge(judge)
        self._judge = Judge(judge)

    def __call__(self, truth: NDArray[Any], picture: NDArray[Any]) -> float:
        """Return the distance of two pictures, ≥ 0; 0 for equal ones.

        Args:
            truth: (H, W, 3), uint8, uint16, or floats in [0, 1]; at least 16 pixels on each side.
            picture: the same shape and type.

        Raises:
            ValueError: the pictures differ in shape or type, or are too small.
            CheckpointError: the judge's file is not there.
        """
        if truth.shape != picture.shape or truth.dtype != picture.dtype:
            raise ValueError(
                f"pictures must have one shape and type, got {truth.shape} {truth.dtype} and "
                f"{picture.shape} {picture.dtype}"
            )
        if truth.ndim != 3 or truth.shape[2] != 3 or min(truth.shape[:2]) < 16:
            raise ValueError(f"expected (H, W, 3) from 16 pixels on each side, got {truth.shape}")
        limit = np.iinfo(truth.dtype).max if np.issubdtype(truth.dtype, np.integer) else 1
        pair = [x.astype(np.float32).transpose(2, 0, 1) * 2 / limit - 1 for x in (truth, picture)]
        with torch.no_grad():
            seen = self._judge(torch.from_numpy(np.stack(pair)))
        return float(look_alike([x[:1] for x in seen], [x[1:] for x in seen]))
