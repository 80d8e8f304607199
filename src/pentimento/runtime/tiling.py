"""Pictures larger than memory through translating networks, exactly.

A generator normalises by statistics of its whole picture, and a U-Net sees all of it at once, so
tiles that are painted one by one differ from the whole (by 25 to 56 grey levels of 255 for a
ResNet of 9 blocks, whatever their overlap). Here every *layer* is computed for the whole picture
before the next one begins: in bands of rows, with the rows around them that its kernel needs, while
its statistics are summed. What a layer made lies in a scratch file until it is no longer needed.
Nothing is approximated; results differ from the whole in the last bits only.

Differs: where a layer that drops values at test time is itself too large for memory, its noise is
another draw than that of the whole picture.

Alphabet: C channels; H, W size of a layer; a, b first row and the row behind the last.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.engine import rng
from pentimento.errors import PictureError
from pentimento.nn.norm import BatchNorm
from pentimento.nn.resnet_generator import ResidualBlock, ResNetGenerator
from pentimento.nn.unet import Dropout, UNet
from pentimento.ops.instances import instance_edges
from pentimento.ops.pad import pad_to_multiple, reflected
from pentimento.systems.generate.bicyclegan import BicycleGAN
from pentimento.systems.generate.cyclegan import CycleGAN
from pentimento.systems.generate.pix2pix import Direction, Pix2Pix
from pentimento.systems.generate.pix2pixhd import Pix2PixHD, Styles, classes_of, one_hot

_FLOAT: Final = 4  # bytes
_LEAST_ROWS: Final = 4

Rows = Callable[[int, int], Tensor]
"""(a, b) → (1, C, b - a, W)."""


@dataclass(frozen=True)
class Planes:
    """A layer's output that is computed, or read, when rows of it are asked for.

    Attributes:
        channels: C.
        height: H.
        width: W.
        rows: how to get some.
    """

    channels: int
    height: int
    width: int
    rows: Rows

    @property
    def row_bytes(self) -> int:
        """Return what one row takes."""
        return _FLOAT * self.channels * self.width

    def each(self, change: Callable[[Tensor], Tensor], channels: int | None = None) -> "Planes":
        """Return the same with every pixel changed by itself."""

        def rows(a: int, b: int) -> Tensor:
            return change(self.rows(a, b))

        return Planes(channels or self.channels, self.height, self.width, rows)


@dataclass(frozen=True)
class Kept(Planes):
    """A layer that has been computed once, with its statistics.

    Attributes:
        mean: (C,) float64 over all pixels.
        variance: (C,) float64.
    """

    mean: Tensor
    variance: Tensor


def whole(x: Tensor) -> Planes:
    """Take planes that are in memory: (1, C, H, W)."""
    _, channels, height, width = x.shape
    return Planes(channels, height, width, lambda a, b: x[:, :, a:b])


def joined(parts: Sequence[Planes]) -> Planes:
    """Put the channels of several layers of one size behind each other."""

    def rows(a: int, b: int) -> Tensor:
        return torch.cat([part.rows(a, b) for part in parts], 1)

    first = parts[0]
    return Planes(sum(part.channels for part in parts), first.height, first.width, rows)


def added(x: Planes, y: Planes) -> Planes:
    """Sum two layers of one shape."""
    return Planes(x.channels, x.height, x.width, lambda a, b: x.rows(a, b) + y.rows(a, b))


def padded(x: Planes, multiple: int, least: int) -> Planes:
    """Continue by reflection to the right and downwards, as `ops.pad.pad_to_multiple` does."""
    down, across = (reflected(side, multiple, least) for side in (x.height, x.width))

    def rows(a: int, b: int) -> Tensor:
        places = down[a:b]
        first = int(places.min())
        band = x.rows(first, int(places.max()) + 1)
        columns = across.to(band.device)
        return band.index_select(2, (places - first).to(band.device)).index_select(3, columns)

    return Planes(x.channels, len(down), len(across), rows)


def _around(x: Planes, a: int, b: int, mode: str) -> Tensor:
    """Return rows of which some may lie outside: by reflection, or zeros."""
    if mode == "reflect":
        places = torch.arange(a, b).abs()
        places = torch.minimum(places, 2 * (x.height - 1) - places)
        first = int(places.min())
        band = x.rows(first, int(places.max()) + 1)
        return band.index_select(2, (places - first).to(band.device))
    above, below = max(0, -a), max(0, b - x.height)
    return F.pad(x.rows(a + above, b - below), (0, 0, above, below))


def convolved(x: Planes, conv: nn.Conv2d) -> Planes:
    """Return what a convolution with square kernel makes; nothing is kept."""
    size, stride = conv.kernel_size[0], conv.stride[0]
    pad, mode = int(conv.padding[0]), conv.padding_mode

    def rows(a: int, b: int) -> Tensor:
        band = _around(x, a * stride - pad, (b - 1) * stride - pad + size, mode)
        band = F.pad(band, (pad, pad, 0, 0), "reflect" if mode == "reflect" else "constant")
        return F.conv2d(band, conv.weight, conv.bias, stride)

    height, width = ((side + 2 * pad - size) // stride + 1 for side in (x.height, x.width))
    return Planes(conv.out_channels, height, width, rows)


def _doubled(x: Planes, conv: nn.ConvTranspose2d) -> Planes:
    size, stride = conv.kernel_size[0], conv.stride[0]
    pad, extra = int(conv.padding[0]), conv.output_padding[0]

    def rows(a: int, b: int) -> Tensor:
        first = max(0, -(-(a + pad - size + 1) // stride))
        last = min(x.height - 1, (b - 1 + pad) // stride)
        made = F.conv_transpose2d(
            x.rows(first, last + 1), conv.weight, conv.bias, stride, (0, pad), (0, extra)
        )
        start = a + pad - first * stride
        return made[:, :, start : start + b - a]

    height, width = ((n - 1) * stride - 2 * pad + size + extra for n in (x.height, x.width))
    return Planes(conv.out_channels, height, width, rows)


def _repeated(x: Planes) -> Planes:
    def rows(a: int, b: int) -> Tensor:
        band = x.rows(a // 2, (b + 1) // 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        return band[:, :, a % 2 : a % 2 + b - a]

    return Planes(x.channels, 2 * x.height, 2 * x.width, rows)


def _pooled(x: Planes) -> Planes:
    """Halve as pix2pixHD's pyramid: means of 3 × 3, of which what lies outside is no part."""
    ones = x.each(lambda band: torch.ones_like(band[:, :1]), 1)
    both = joined([x, ones])

    def rows(a: int, b: int) -> Tensor:
        band = F.pad(_around(both, 2 * a - 1, 2 * b, "zeros"), (1, 1, 0, 0))
        sums = F.avg_pool2d(band, 3, 2, divisor_override=1)
        return sums[:, :-1] / sums[:, -1:]

    return Planes(x.channels, (x.height + 1) // 2, (x.width + 1) // 2, rows)


class Streamer:
    """Runs layers one after the other in bounded memory.

    Args:
        memory: bytes that layers may take; half of them at most hold what was made.
        seed: of the noise of layers that drop values.
    """

    def __init__(self, memory: int, seed: int = 0) -> None:
        self._memory, self._seed = memory, seed
        self._noisy = 0

    def bands(self, x: Planes) -> Iterator[tuple[int, int]]:
        """Yield (a, b) of consecutive bands that fit into memory together with what they need."""
        count = max(_LEAST_ROWS, self._memory // (16 * x.row_bytes))
        edges = [*range(0, x.height, count), x.height]
        yield from pairwise(edges)

    def _small(self, x: Planes) -> bool:
        return x.row_bytes * x.height <= self._memory // 16

    def kept(self, x: Planes) -> Kept:
        """Compute a layer once, in memory or a scratch file, and its statistics."""
        sums, squares = (torch.zeros(x.channels, dtype=torch.float64) for _ in range(2))
        rows, write = _memory(x) if self._small(x) else _scratch(x)
        for a, b in self.bands(x):
            band = x.rows(a, b)
            exact = band[0].double()
            sums += exact.sum((1, 2)).cpu()
            squares += exact.square().sum((1, 2)).cpu()
            write(a, band)
        mean = sums / (x.height * x.width)
        variance = (squares / (x.height * x.width) - mean.square()).clamp(min=0)
        return Kept(x.channels, x.height, x.width, rows, mean, variance)

    def through(self, x: Planes, *layers: nn.Module) -> Planes:
        """Apply layers; convolutions are computed and kept, what acts on pixels waits.

        Raises:
            TypeError: a layer is of a kind that is not known here.
        """
        for layer in layers:
            if isinstance(layer, nn.Sequential):
                x = self.through(x, *layer)
            elif isinstance(layer, nn.Conv2d):
                x = self.kept(convolved(x, layer))
            elif isinstance(layer, nn.ConvTranspose2d):
                x = self.kept(_doubled(x, layer))
            elif isinstance(layer, nn.Upsample):
                x = _repeated(x)
            elif isinstance(layer, BatchNorm | nn.GroupNorm):
                x = _normalised(x if isinstance(x, Kept) else self.kept(x), layer)
            elif isinstance(layer, Dropout):
                x = self._dropped(x) if layer.at_test else x
            elif isinstance(layer, ResidualBlock):
                y = self.through(x, layer.conv1, layer.norm1, nn.ReLU(), layer.dropout)
                x = self.kept(added(x, self.through(y, layer.conv2, layer.norm2)))
            elif isinstance(layer, nn.ReLU | nn.LeakyReLU | nn.Tanh | nn.Identity):
                x = x.each(layer)
            else:
                raise TypeError(f"{type(layer).__name__} cannot be computed in bands yet")
        return x

    def _dropped(self, x: Planes) -> Planes:
        if self._small(x):
            return whole(F.dropout(x.rows(0, x.height), 0.5, True))
        self._noisy += 1
        layer = self._noisy

        def rows(a: int, b: int) -> Tensor:
            band = x.rows(a, b)
            kept = torch.stack([self._coins(x, layer, row) for row in range(a, b)], 1)
            return band * kept[None].to(band.device) * 2

        return Planes(x.channels, x.height, x.width, rows)

    def _coins(self, x: Planes, layer: int, row: int) -> Tensor:
        # A row is read several times, as part of the surroundings of its neighbours, too.
        words = np.random.SeedSequence([self._seed, layer, row]).generate_state(1, np.uint64)
        drawn = torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))
        return torch.randint(2, (x.channels, x.width), generator=drawn)

    # --- networks

    def resnet(self, network: ResNetGenerator, x: Planes, coarse: Planes | None = None) -> Planes:
        """Return what `ResNetGenerator.forward` does."""
        x = self.through(x, network.first, network.down)
        if coarse is not None:
            x = self.kept(added(x, coarse))
        return _painted(self.through(x, network.blocks, network.up), network.last, network.tanh)

    def unet(self, network: UNet, x: Planes, style: Tensor | None = None) -> Planes:
        """Return what `UNet.forward` does."""
        skips: list[Planes] = []
        for down in network.down:
            if style is not None:
                x = joined([x, _everywhere(style, x)])
            x = self.through(x, down)
            skips.append(x)
        x = skips.pop()
        for up in reversed(list(network.up)[1:]):
            pair = [skips.pop(), self.through(x, up)]
            x = joined(pair if network.skips_first else pair[::-1])
        outermost = network.up[0]
        assert isinstance(outermost, nn.Sequential)
        *before, last = outermost
        return _painted(self.through(x, *before), last, network.tanh)


def _painted(x: Planes, last: nn.Module, tanh: nn.Module) -> Planes:
    """Apply the last convolution without keeping what it makes."""
    if isinstance(last, nn.Sequential):  # resize-convolution
        x, last = _repeated(x), last[1]
    if isinstance(last, nn.Conv2d):
        x = convolved(x, last)
    elif isinstance(last, nn.ConvTranspose2d):
        x = _doubled(x, last)
    return x.each(tanh)


def _everywhere(style: Tensor, like: Planes) -> Planes:
    """Repeat a vector (1, Z) at every pixel."""
    count = style.shape[1]
    return like.each(lambda band: style[:, :, None, None].expand(-1, -1, *band.shape[2:]), count)


def _normalised(x: Kept, layer: BatchNorm | nn.GroupNorm) -> Planes:
    mean, variance = x.mean, x.variance
    if isinstance(layer, BatchNorm) and not layer.per_picture:
        assert layer.running_mean is not None
        assert layer.running_var is not None
        mean, variance = layer.running_mean.double(), layer.running_var.double()
    scale = (variance + layer.eps).rsqrt()
    shift = torch.zeros_like(mean)
    if layer.weight is not None:
        scale, shift = scale.to(layer.weight.device) * layer.weight, layer.bias.double()

    def change(band: Tensor) -> Tensor:
        m, s, t = (v.to(band)[:, None, None] for v in (mean, scale, shift))
        return (band - m) * s + t

    return x.each(change)


def _memory(x: Planes) -> tuple[Rows, Callable[[int, Tensor], Any]]:
    made: list[Tensor] = []

    def write(a: int, band: Tensor) -> None:
        if not made:
            made.append(band.new_empty(1, x.channels, x.height, x.width))
        made[0][:, :, a : a + band.shape[2]] = band

    return (lambda a, b: made[0][:, :, a:b]), write


def _scratch(x: Planes) -> tuple[Rows, Callable[[int, Tensor], Any]]:
    """Keep rows in a file that is gone when nothing reads it any more."""
    needed, folder = x.row_bytes * x.height, tempfile.gettempdir()
    if (free := shutil.disk_usage(folder).free) < needed:
        raise PictureError(
            f"painting a picture of this size needs {needed / 2**30:.1f} GiB more of scratch space "
            f"in {folder}, which has {free / 2**30:.1f}; set TMPDIR to a larger disk, or allow "
            "more memory"
        )
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # lives as long as its readers
    device: list[torch.device] = []

    def write(a: int, band: Tensor) -> None:
        device[:] = [band.device]
        file.seek(a * x.row_bytes)
        left = band[0].transpose(0, 1).contiguous().cpu().numpy().data.cast("B")
        while left:
            left = left[file.write(left) :]

    def rows(a: int, b: int) -> Tensor:
        band = np.empty((b - a, x.channels, x.width), np.float32)
        file.seek(a * x.row_bytes)
        left = band.data.cast("B")
        while left:
            left = left[file.readinto(left) :]
        return torch.from_numpy(band).to(device[0]).transpose(0, 1)[None]

    weakref.finalize(rows, file.close)
    return rows, write


# --- systems --------------------------------------------------------------------------------------

Translating = Pix2Pix | CycleGAN | BicycleGAN | Pix2PixHD


def free_memory(device: torch.device) -> int:
    """Return how many bytes are free on a device; 4 GiB where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        return 4 * 2**30


def appetite(system: Translating, height: int, width: int) -> int:
    """Return about how many bytes `system.predict` takes for one picture of a size."""
    c = system.config
    large = not (isinstance(system, BicycleGAN) or getattr(c, "generator", "") == "unet")
    # Layers of the full size, or of half of it, that are alive at once: measured.
    alive = 5 * c.width if large else 2 * c.width
    channels = max(getattr(c, name, 3) for name in ("in_channels", "a_channels", "classes"))
    return _FLOAT * height * width * (alive + 3 * channels)


@torch.no_grad()
def stream(
    system: Translating,
    condition: Planes,
    memory: int,
    *,
    direction: Direction | None = None,
    seed: int = 0,
) -> Planes:
    """Paint a picture of any size in bounded memory; the same as `system.predict`.

    Args:
        system: pix2pix, CycleGAN, BicycleGAN (in a drawn style) or pix2pixHD.
        condition: the picture as the system's `predict` takes it, on the networks' device.
        memory: bytes that may be used at a time; scratch files take the rest.
        direction: as of `predict`.
        seed: as of `predict`.

    Returns:
        The painted picture in [-1, 1], whose last layer is computed when rows are asked for.

    Raises:
        PictureError: there is not enough scratch space.
        ConfigError: as of `predict`.
    """
    if condition.channels != system.channels(direction):
        raise ValueError(
            f"expected {system.channels(direction)} channels, got {condition.channels}"
        )
    system.networks.eval()
    work = Streamer(memory, seed)
    if isinstance(system, Pix2PixHD):
        painted = _hd(work, system, condition, seed)
    elif isinstance(system, BicycleGAN):
        unet, depth = system.networks["generator"], system.config.depth
        assert isinstance(unet, UNet)
        device = next(unet.parameters()).device
        style = system.drawn_style(1, seed).to(device)
        painted = work.unet(unet, padded(condition, 2**depth, 2 ** (depth + 1)), style)
    else:
        name = "generator"
        if isinstance(system, CycleGAN):
            name = "b_to_a" if direction == "BtoA" else "a_to_b"
        network = system.networks[name]
        assert isinstance(network, UNet | ResNetGenerator)
        x = padded(condition, network.multiple, 16)
        with rng.kept(seed):
            painted = (
                work.unet(network, x) if isinstance(network, UNet) else work.resnet(network, x)
            )
    columns = condition.width

    @torch.no_grad()
    def cut(a: int, b: int) -> Tensor:
        band = painted.rows(a, b)[..., :columns]
        return system.finished(band, condition.rows(a, b)) if isinstance(system, CycleGAN) else band

    return Planes(painted.channels, condition.height, columns, cut)


def _hd(work: Streamer, system: Pix2PixHD, condition: Planes, seed: int) -> Planes:
    c, networks = system.config, system.networks
    multiple = 2 ** (c.downs + c.enhance)
    bands = work.bands(condition)
    found = [classes_of(condition.rows(a, b), c.classes) for a, b in bands]
    labels = pad_to_multiple(torch.cat(found, 1)[:, None], multiple, 2 * multiple)
    planes = partial(one_hot, classes=c.classes)
    parts = [whole(labels).each(lambda band: planes(band[:, 0]), c.classes)]
    if c.edges:
        parts.append(whole(instance_edges(labels)))
    if c.features:
        styles = networks["styles"]
        assert isinstance(styles, Styles)
        parts.append(whole(styles(labels[:, 0], labels, seed)))
    seen = joined(parts)
    trunk, enhancer = networks["trunk"], networks["enhancer"] if c.enhance else None
    assert isinstance(trunk, ResNetGenerator)
    if enhancer is None:
        head = networks["head"]
        assert isinstance(head, nn.Sequential)
        return _painted(work.resnet(trunk, seen), head[0], head[1])
    assert isinstance(enhancer, ResNetGenerator)
    coarse = work.resnet(trunk, _pooled(seen))
    return work.resnet(enhancer, seen, coarse)
