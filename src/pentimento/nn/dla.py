"""DLA-34 with iterative up-sampling: the trunk of CenterNet (Yu et al. 2018; Zhou et al. 2019).

Parts carry the official names. `level3.project` and `level4.project` exist there without having
any effect; they are kept so that official files load strictly.

Alphabet: N batch; C channels; H, W.
"""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.ops.deform import deform_conv

WIDTHS: Final = (16, 32, 64, 128, 256, 512)
"""Channels of DLA-34 at strides 1, 2, 4, 8, 16, 32."""


class DeformConv(nn.Module):
    """DCNv2, 3 × 3, stride 1: an ordinary convolution says where its taps look, and how hard."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.conv_offset_mask = nn.Conv2d(inputs, 27, 3, 1, 1)
        bound = (inputs * 9) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        # It starts as a plain convolution at half strength.
        nn.init.zeros_(self.conv_offset_mask.weight)
        nn.init.zeros_(self.conv_offset_mask.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H, W)."""
        first, second, mask = self.conv_offset_mask(x).chunk(3, 1)
        offset = torch.cat([first, second], 1)
        return deform_conv(x, offset, mask.sigmoid(), self.weight, self.bias)


class _Block(nn.Module):
    """Two convolutions, added to what the tree hands over."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + residual)


class _Root(nn.Module):
    """Joins the leaves of a tree."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, *leaves: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(torch.cat(leaves, 1))))


class _Tree(nn.Module):
    """A stage: blocks joined pairwise, a tree `depth` levels high.

    Args:
        inputs: channels in.
        outputs: channels out.
        depth: 1 holds two blocks, 2 two trees of two.
        root: channels that the root gets, besides those of its own two leaves.
        keeps: whether the stage's input also goes to the root.
    """

    def __init__(
        self, inputs: int, outputs: int, depth: int, stride: int = 2, root: int = 0,
        *, keeps: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.keeps = keeps
        root += inputs if keeps else 0
        self.tree1: nn.Module
        self.tree2: nn.Module
        if depth == 1:
            self.tree1 = _Block(inputs, outputs, stride)
            self.tree2 = _Block(outputs, outputs)
            self.root = _Root(2 * outputs + root, outputs)
        else:
            self.tree1 = _Tree(inputs, outputs, depth - 1, stride)
            self.tree2 = _Tree(outputs, outputs, depth - 1, 1, root + outputs)
        self.deep = depth > 1
        self.down = nn.MaxPool2d(stride) if stride > 1 else nn.Identity()
        self.project = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor, leaves: Sequence[Tensor] = ()) -> Tensor:
        bottom = self.down(x)
        leaves = (*leaves, bottom) if self.keeps else tuple(leaves)
        if self.deep:
            first = self.tree1(x)
            return self.tree2(first, (*leaves, first))
        first = self.tree1(x, self.project(bottom))
        second = self.tree2(first, first)
        return self.root(second, first, *leaves)


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class DLA34(nn.Module):
    """The downward half: features at strides 1 to 32."""

    def __init__(self, widths: Sequence[int] = WIDTHS):
        super().__init__()
        self.base_layer = _conv(3, widths[0], 7)
        self.level0 = _conv(widths[0], widths[0])
        self.level1 = _conv(widths[0], widths[1], 3, 2)
        self.level2 = _Tree(widths[1], widths[2], 1)
        self.level3 = _Tree(widths[2], widths[3], 2, keeps=True)
        self.level4 = _Tree(widths[3], widths[4], 2, keeps=True)
        self.level5 = _Tree(widths[4], widths[5], 1, keeps=True)

    def forward(self, image: Tensor, more: Tensor | None = None) -> list[Tensor]:
        """Return six maps, finest first.

        Args:
            image: (N, 3, H, W), H and W multiples of 32.
            more: (N, widths[0], H, W) added after the stem (CenterTrack's previous frame).
        """
        x = self.base_layer(image)
        x = x if more is None else x + more
        levels = [self.level0, self.level1, self.level2, self.level3, self.level4, self.level5]
        out = []
        for level in levels:
            x = level(x)
            out.append(x)
        return out


class _Deform(nn.Module):
    """DCNv2, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = DeformConv(inputs, outputs)
        self.actf = nn.Sequential(nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.actf(self.conv(x))


class _IterativeUp(nn.Module):
    """Joins coarser maps to the finest one, one after another."""

    def __init__(self, outputs: int, inputs: Sequence[int], factors: Sequence[int]):
        super().__init__()
        self.count = len(inputs)
        for i in range(1, len(inputs)):
            f = factors[i]
            up = nn.ConvTranspose2d(outputs, outputs, 2 * f, f, f // 2, groups=outputs, bias=False)
            with torch.no_grad():  # bilinear to begin with
                t = 1 - ((torch.arange(2 * f) + 0.5) / f - 1).abs()
                up.weight.copy_((t[:, None] * t).expand_as(up.weight))
            self.add_module(f"proj_{i}", _Deform(inputs[i], outputs))
            self.add_module(f"up_{i}", up)
            self.add_module(f"node_{i}", _Deform(outputs, outputs))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return all maps at the first one's size, each joined with those before it."""
        out = [maps[0]]
        for i, x in enumerate(maps[1:], 1):
            raised = self.get_submodule(f"up_{i}")(self.get_submodule(f"proj_{i}")(x))
            out.append(self.get_submodule(f"node_{i}")(raised + out[-1]))
        return out


class _Up(nn.Module):
    """From four maps to the same four, each with everything coarser joined in."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        count = len(widths)
        for i in range(count - 1):
            at = count - 2 - i
            channels = [widths[at], *[widths[at + 1]] * (i + 1)]
            self.add_module(f"ida_{i}", _IterativeUp(widths[at], channels, [1] + [2] * (i + 1)))
        self.steps = count - 1

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        maps = list(maps)
        out = [maps[-1]]
        for i in range(self.steps):
            first = len(maps) - i - 2
            maps[first:] = self.get_submodule(f"ida_{i}")(maps[first:])
            out.insert(0, maps[-1])
        return out


class DLAUp(nn.Module):
    """DLA-34 with its upward half: one map at stride 4 with `widths[2]` channels."""

    def __init__(self, widths: Sequence[int] = WIDTHS):
        super().__init__()
        self.base = DLA34(widths)
        self.dla_up = _Up(widths[2:])
        self.ida_up = _IterativeUp(widths[2], widths[2:5], [1, 2, 4])
        self.channels = widths[2]

    def forward(self, image: Tensor, more: Tensor | None = None) -> Tensor:
        """Return (N, widths[2], H / 4, W / 4); arguments as those of `DLA34`."""
        maps = self.dla_up(self.base(image, more)[2:])
        return self.ida_up(maps[:3])[-1]
