"""How different two pictures look to a trained network: LPIPS without its downloads.

`Likeness` is what systems that learn from pairs are validated by, beside SSIM and PSNR.

Differs from LPIPS (Zhang et al. 2018): the network is the bundled one, or a file of VGG; levels and
channels count alike, instead of by weights fitted to people's choices. Numbers of different
networks are not comparable, nor are they with LPIPS's: name the judge beside them.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pentimento.losses.perceptual import Judge, check_judge, look_alike
from pentimento.metrics.images import psnr, ssim


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


class Likeness:
    """Means of SSIM and PSNR over pictures and their truths; over colour pictures also of `looks`.

    `looks` is the `PerceptualDistance` in the bundled features.
    """

    def __init__(self) -> None:
        self._looks = PerceptualDistance()
        self._found: dict[str, list[float]] = {}

    def add(self, truths: NDArray[Any], pictures: NDArray[Any]) -> None:
        """Take in (B, H, W, C) pictures, floats in [0, 1], and what they should be."""
        for truth, picture in zip(truths, pictures, strict=True):
            scores = {"ssim": ssim(truth, picture), "psnr": psnr(truth, picture)}
            if truth.shape[2] == 3:
                scores["looks"] = self._looks(truth, picture)
            for name, score in scores.items():
                self._found.setdefault(name, []).append(score)

    def value(self) -> dict[str, float]:
        """Return `ssim`, `psnr` in dB, and of colour pictures `looks`, lower for more alike."""
        return {name: float(np.mean(scores)) for name, scores in self._found.items()}
