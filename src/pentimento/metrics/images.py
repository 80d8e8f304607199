"""Likeness of pictures: PSNR and SSIM; and how sharp one is.

The data range is that of the type: 255 for uint8, 65535 for uint16, and 1 for floats, which must
lie in [0, 1]. Both pictures must have one type, so that nothing is rescaled in silence.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def psnr(truth: NDArray[Any], picture: NDArray[Any]) -> float:
    """Return the peak signal-to-noise ratio in dB over all pixels and channels.

    Args:
        truth: (H, W) or (H, W, C).
        picture: the same shape and type.

    Returns:
        Decibels; infinity for equal pictures.
    """
    limit = _data_range(truth, picture)
    if np.array_equal(truth, picture):
        return float("inf")
    return float(peak_signal_noise_ratio(truth, picture, data_range=limit))  # type: ignore[no-untyped-call]  # scikit-image has no types here


def ssim(truth: NDArray[Any], picture: NDArray[Any]) -> float:
    """Return the mean structural similarity, in [-1, 1] (Wang et al. 2004).

    The window is the paper's Gaussian (sigma 1.5, 11×11) and channels are averaged.

    Args:
        truth: (H, W) or (H, W, C), at least 11 pixels on each side.
        picture: the same shape and type.
    """
    limit = _data_range(truth, picture)
    if min(truth.shape[:2]) < 11:
        raise ValueError(f"SSIM needs 11 pixels on each side, got {truth.shape[:2]}")
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]  # no types either
            truth,
            picture,
            data_range=limit,
            channel_axis=-1 if truth.ndim == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def sharpness(picture: NDArray[Any]) -> float:
    """Return the mean magnitude of the gradient, as a share of the data range per pixel.

    A blurred picture has less of it, a noisy one more: it means something beside the same of the
    true picture, and beside a likeness.

    Args:
        picture: (H, W) or (H, W, C), at least 2 pixels on each side.
    """
    limit = _data_range(picture, picture)
    values = picture.astype(np.float64) / limit
    down, across = np.diff(values, axis=0)[:, :-1], np.diff(values, axis=1)[:-1]
    return float(np.hypot(down, across).mean())


def _data_range(truth: NDArray[Any], picture: NDArray[Any]) -> float:
    if truth.shape != picture.shape or truth.dtype != picture.dtype:
        raise ValueError(
            f"pictures must have one shape and type, got {truth.shape} {truth.dtype} and "
            f"{picture.shape} {picture.dtype}"
        )
    if np.issubdtype(truth.dtype, np.integer):
        return float(np.iinfo(truth.dtype).max)
    for values in (truth, picture):
        if values.min() < 0 or values.max() > 1:
            raise ValueError(
                f"float pictures must lie in [0, 1], got {values.min():.3g}..{values.max():.3g}"
            )
    return 1.0
