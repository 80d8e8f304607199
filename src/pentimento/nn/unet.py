"""The U-Net of pix2pix (Isola et al. 2017, section 6.1.1), down to one pixel and back.

Users: pix2pix, BicycleGAN.
"""

from collections import OrderedDict
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.nn.norm import Norm

DropoutName = Literal["off", "train", "always"]


class Dropout(nn.Module):
    """Drop half of the values: the noise of pix2pix, which it draws at test time as well.

    Args:
        at_test: draw outside of training, too.
    """

    def __init__(self, *, at_test: bool) -> None:
        super().__init__()
        self.at_test = at_test

    def forward(self, x: Tensor) -> Tensor:
        """Return x with half of its values 0 and the others doubled."""
        if self.training or not self.at_test:
            return F.dropout(x, 0.5, self.training)
        # Drawn row by row whatever the layout and type of x: one seed paints one picture.
        return x * torch.empty(x.shape, device=x.device).bernoulli_(0.5).mul_(2).to(x.dtype)


def doubling(c_in: int, c_out: int, kernel: int, *, bias: bool, resize: bool) -> nn.Module:
    """Return a layer that doubles height and width.

    Args:
        c_in: channels that come.
        c_out: channels that go.
        kernel: of the transposed convolution, 3 or 4.
        bias: whether it adds one.
        resize: repeat pixels and convolve by 3 × 3 instead, which cannot leave a checkerboard
            (Odena et al. 2016).
    """
    if resize:
        conv = nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="reflect", bias=bias)
        return nn.Sequential(nn.Upsample(scale_factor=2), conv)
    return nn.ConvTranspose2d(
        c_in, c_out, kernel, stride=2, padding=1, output_padding=kernel % 2, bias=bias
    )


class UNet(nn.Module):
    """Halve `downs` times, double as often, with skips between equal sizes; tanh at the end.

    Level 0 is the outermost. All convolutions are 4 × 4 with stride 2.

    Args:
        in_channels: of the condition.
        out_channels: of the picture.
        width: channels of level 0; doubled per level up to 8 ×.
        downs: number of levels; height and width must be multiples of 2^downs.
        norm: channels → normalisation.
        bias: whether convolutions in front of a normalisation have one.
        dropout: where to drop values in the levels that neither narrow nor end (4 … downs - 2).
        resize: see `doubling`.
        style: length of a vector that is shown to every level on the way down, 0 for none.
        skips_first: what a level sees first, the skip (pix2pix) or what comes from below
            (BicycleGAN).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        downs: int = 8,
        *,
        norm: Norm,
        bias: bool,
        dropout: DropoutName = "off",
        resize: bool = False,
        style: int = 0,
        skips_first: bool = True,
    ) -> None:
        super().__init__()
        self.multiple: Final = 2**downs
        self.skips_first = skips_first
        widths = [width * min(2**n, 8) for n in range(downs)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for n, c in enumerate(widths):
            outer, inner = n == 0, n == downs - 1
            c_in = in_channels if outer else widths[n - 1]
            down: OrderedDict[str, nn.Module] = OrderedDict()
            if not outer:
                down["relu"] = nn.LeakyReLU(0.2)
            down["conv"] = nn.Conv2d(c_in + style, c, 4, stride=2, padding=1, bias=bias)
            if not (outer or inner):
                down["norm"] = norm(c)
            self.down.append(nn.Sequential(down))

            c_out = out_channels if outer else c_in
            both = c if inner else 2 * c  # what comes from below, and the skip
            up: OrderedDict[str, nn.Module] = OrderedDict(relu=nn.ReLU())
            up["conv"] = doubling(both, c_out, 4, bias=bias or outer, resize=resize)
            if not outer:
                up["norm"] = norm(c_out)
            if dropout != "off" and 4 <= n <= downs - 2:
                up["dropout"] = Dropout(at_test=dropout == "always")
            self.up.append(nn.Sequential(up))
        self.tanh = nn.Tanh()

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """Paint.

        Args:
            x: (B, C_in, H, W).
            style: (B, Z) if the network was built for one.

        Returns:
            (B, C_out, H, W) in [-1, 1].
        """
        skips = []
        for down in self.down:
            x = down(x if style is None else with_style(x, style))
            skips.append(x)
        x = skips.pop()
        for up in reversed(self.up[1:]):
            pair = [skips.pop(), up(x)]
            x = torch.cat(pair if self.skips_first else pair[::-1], 1)
        return self.tanh(self.up[0](x))


def with_style(x: Tensor, style: Tensor) -> Tensor:
    """Append a vector to the channels of every pixel: (B, C, H, W), (B, Z) → (B, C + Z, H, W)."""
    return torch.cat([x, style[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
