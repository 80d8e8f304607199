"""Painting in bfloat16, where the processor can and nobody sees it.

Half of the bits are half of the memory that convolutions move, and their weights lie the way oneDNN
wants them (channels last), so that no pass sorts them anew: autocast does both every time. Pictures
come and go in float32; `harm` says what the rounding changes.
"""

import copy
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.engine.data import as_float32
from pentimento.ops.planes import MOST_CHANNELS

HARMLESS: Final = 0.5
"""Of `harm`: half a grey level, which rounding to 8 bits takes anyway."""

_PROBE: Final = 128  # side of the picture that is painted both ways
_COARSE: Final = 16


class Painting(Protocol):
    """A system that paints from a picture."""

    networks: nn.ModuleDict

    def channels(self, direction: Literal["AtoB", "BtoA"] | None = None) -> int:
        """Return the channels that `predict` expects."""
        ...

    def predict(
        self, condition: Tensor, /, *, direction: Literal["AtoB", "BtoA"] | None = None
    ) -> Tensor:
        """Paint."""
        ...


PaintingT = TypeVar("PaintingT", bound=Painting)


def native() -> bool:
    """Return whether this processor multiplies bfloat16 itself; others only imitate it, slowly."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def reduced(system: PaintingT) -> PaintingT:
    """Return a copy whose convolving networks compute in bfloat16 and answer in float32."""
    copied = copy.deepcopy(system)
    for network in copied.networks.values():
        if any(isinstance(part, nn.Conv2d | nn.ConvTranspose2d) for part in network.modules()):
            network.to(torch.bfloat16)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub
            network.forward = _between(network.forward)
    return copied


def _between(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any) -> Any:
        return as_float32(forward(*(_reduced(each) for each in inputs)))

    return run


def _reduced(x: Any) -> Any:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    x = x.bfloat16()
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def harm(
    system: Painting, other: Painting, direction: Literal["AtoB", "BtoA"] | None = None
) -> float:
    """Return how far apart two systems paint one drawn picture, on the device of their networks.

    Returns:
        The mean difference in grey levels of 255; of label maps the percentage of pixels that get
        another class.
    """
    channels = system.channels(direction)
    drawn = torch.randn(1, channels, _COARSE, _COARSE, generator=torch.Generator().manual_seed(0))
    probe = F.interpolate(drawn, (_PROBE, _PROBE), mode="bicubic").tanh()
    if channels > MOST_CHANNELS:
        classes = torch.arange(channels)[:, None, None]
        probe = (probe.argmax(1, keepdim=True) == classes).float()
    probe = probe.to(next(system.networks.parameters()).device)
    one, two = (each.predict(probe, direction=direction) for each in (system, other))
    if one.shape[1] > MOST_CHANNELS:
        return 100 * float((one.argmax(1) != two.argmax(1)).float().mean())
    return 127.5 * float((one - two).abs().mean())
