"""Whole pictures through a translating model: the size that comes in is the size that goes out.

A model of super_resolution gives every picture its scale times the width and the height.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, cast

import cv2
import numpy as np
import torch
from torch import Tensor

from pentimento import catalog, models
from pentimento.errors import CheckpointError, PictureError
from pentimento.files.compose import to_rgb8
from pentimento.ops.planes import MOST_CHANNELS, Pixels, pixels_of, planes, with_channels
from pentimento.runtime.reduced import HARMLESS, Painting, harm, native, reduced
from pentimento.runtime.tiling import Planes, Translating, appetite, free_memory, stream
from pentimento.structures import ColourMode, Picture

Direction = Literal["AtoB", "BtoA"]
Precision = Literal["auto", "32", "bf16"]
_MODES: dict[int, ColourMode] = {1: "grey", 3: "rgb"}


class _Paints(Painting, Protocol):
    def predict(
        self, condition: Tensor, /, *, direction: Direction | None = None, seed: int = 0
    ) -> Tensor: ...


class Translator:
    """A model of pix2pix or CycleGAN, ready for pictures.

    Args:
        folder: the model's.
        direction: `AtoB` or `BtoA`, or None for the model's own.
        memory: bytes that painting may take, None for half of what is free. Larger pictures are
            painted in bands, layer by layer, with the statistics of the whole (`runtime.tiling`).
        precision: `32`, `bf16`, or `auto`: bfloat16 on processors that have it, if this model's
            pictures change by at most half a grey level on average (`runtime.reduced`) and memory
            is not bounded. Bands are always painted in float32.

    Raises:
        CheckpointError: there is no such model, or it does not translate.
        ConfigError: it was not trained for this direction.
    """

    def __init__(
        self,
        folder: str | Path,
        direction: Direction | None = None,
        memory: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        system = models.load(folder)
        if not (hasattr(system, "channels") and hasattr(system, "predict")):
            raise CheckpointError(
                f"{folder} holds a model of {catalog.name_of(type(system))}, which does not "
                "translate pictures; give one of pix2pix or cyclegan"
            )
        self._system, self._direction = cast(_Paints, system), direction
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        system.networks.to(self._device)
        self._channels = self._system.channels(direction)
        self._memory = memory
        self._whole = self._as_fast(precision)

    def _as_fast(self, precision: Precision) -> _Paints:
        """Return what paints whole pictures."""
        exact, auto = self._system, precision == "auto"
        # Who bounds the memory wants bands and whole pictures to be alike to one grey level.
        can = self._memory is None and self._device.type == "cpu" and native()
        if precision == "32" or (auto and not can):
            return exact
        fast = reduced(exact)
        return exact if auto and harm(exact, fast, self._direction) > HARMLESS else fast

    def translate(self, picture: Picture, seed: int = 0) -> Picture:
        """Return the picture that the model paints from this one.

        Depth, alpha, resolution and EXIF stay. A model that expects more than 4 channels takes
        class numbers: a grey picture of 8 bits; one that paints more than 4 returns them.

        Args:
            picture: of any size.
            seed: of the noise of models that draw some.

        Raises:
            PictureError: class numbers are expected, and this is a picture.
            DataError: it holds classes that the model does not know.
        """
        pixels = self._pixels(picture)
        depth = picture.pixels.dtype if self._channels <= MOST_CHANNELS else np.uint8
        memory = self._memory or free_memory(self._device) // 2
        system = self._system
        height, width = pixels.shape[:2]
        if isinstance(system, Translating) and appetite(system, height, width) > memory:
            condition = Planes(self._channels, height, width, partial(self._seen, pixels))
            painted = stream(system, condition, memory, direction=self._direction, seed=seed)
            count = max(1, memory // (16 * painted.row_bytes))
            bands = [
                pixels_of(painted.rows(a, min(a + count, painted.height))[0].cpu().numpy(), depth)
                for a in range(0, painted.height, count)
            ]
            return _as_picture(np.concatenate(bands), picture)
        seen = self._seen(pixels, 0, len(pixels))
        whole = self._whole.predict(seen, direction=self._direction, seed=seed)[0]
        return _as_picture(pixels_of(whole.float().cpu().numpy(), depth), picture)

    def _seen(self, pixels: Pixels, a: int, b: int) -> Tensor:
        return torch.from_numpy(planes(pixels[a:b], self._channels))[None].to(self._device)

    def _pixels(self, picture: Picture) -> Pixels:
        if self._channels > MOST_CHANNELS:
            if picture.mode != "grey" or picture.pixels.dtype != np.uint8:
                raise PictureError(
                    f"{picture.name}: this model takes class numbers 0..{self._channels - 1}, a "
                    f"grey picture of 8 bits; this one is {picture.mode} {picture.pixels.dtype}"
                )
            return picture.pixels[..., 0]
        pixels: Pixels = to_rgb8(picture) if picture.mode == "cmyk" else picture.pixels
        if self._channels in (2, 4):
            alpha = picture.alpha
            if alpha is None:
                alpha = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
            return np.dstack([with_channels(pixels, self._channels - 1, picture.name), alpha])
        return with_channels(pixels, self._channels, picture.name)


def _as_picture(painted: Pixels, source: Picture) -> Picture:
    alpha = source.alpha
    if painted.ndim == 2:
        painted, alpha = painted[..., None], None
    elif painted.shape[2] in (2, 4):
        painted, alpha = painted[..., :-1], np.ascontiguousarray(painted[..., -1])
    if alpha is not None and alpha.dtype != painted.dtype:
        alpha = None
    if alpha is not None and alpha.shape != painted.shape[:2]:  # the model enlarges
        size = painted.shape[1], painted.shape[0]
        alpha = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR), alpha.dtype)
    mode = _MODES[painted.shape[2]]
    # A profile describes the colours of its mode; the painted ones follow those it was shown.
    icc = source.icc if mode == source.mode else None
    return replace(
        source, pixels=np.ascontiguousarray(painted), mode=mode, alpha=alpha, icc=icc, format=None
    )
