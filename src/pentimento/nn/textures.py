"""Parts of a face as textures: taken out of one mask, laid into another, repainted by one U-Net.

Users: the portrait system's `compact()` preset and systems that edit or anonymise faces with it.
Alphabet: B batch; S picture size; pictures in [-1, 1]; K label classes; h, w frame of a texture.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.labels import LabelSet
from pentimento.nn.mgpe import PARTS, PartCodes, one_hot
from pentimento.ops.parts import fill_holes, mask_of, put, spans, take


@dataclass(frozen=True)
class Texture:
    """One piece of a part's code; sizes are those of a 256-pixel picture.

    Attributes:
        part: whose code it belongs to.
        classes: what it covers.
        shape: (height, width) of its frame, or None: the whole picture, in place.
        colour: RGB in [0, 1] of the texture of a face that does not show it: what opens in a mouth
            that was shut must begin as something.
        around: classes whose common box is the frame; `classes` where empty.
    """

    part: str
    classes: tuple[str, ...]
    shape: tuple[int, int] | None
    colour: tuple[float, float, float]
    around: tuple[str, ...] = ()


_MOUTH: Final = ("mouth", "u_lip", "l_lip")
_SKIN: Final = (0.75, 0.58, 0.50)
_BROW: Final = (0.35, 0.26, 0.22)
TEXTURES: Final = {
    "right_eye": Texture("right_eye", ("r_eye",), (32, 64), (0.45, 0.38, 0.36)),
    "left_eye": Texture("left_eye", ("l_eye",), (32, 64), (0.45, 0.38, 0.36)),
    "skin": Texture("skin", ("skin", "l_ear", "r_ear"), None, _SKIN),
    "nose": Texture("skin", ("nose",), (96, 64), _SKIN),
    "right_brow": Texture("skin", ("r_brow",), (32, 64), _BROW),
    "left_brow": Texture("skin", ("l_brow",), (32, 64), _BROW),
    "hair": Texture("hair", ("hair",), None, (0.24, 0.18, 0.15)),
    "lips": Texture("mouth", ("u_lip", "l_lip"), (64, 128), (0.68, 0.40, 0.38), _MOUTH),
    "teeth": Texture("mouth", ("mouth",), (64, 128), (0.35, 0.18, 0.17), _MOUTH),
}
"""Neck, clothes, hats, glasses and jewellery have no texture: they are the picture's."""

_FEATURES: Final = (("r_eye",), ("l_eye",), ("r_brow",), ("l_brow",), ("nose",), _MOUTH)


class Block(nn.Module):
    """Pre-activation residual block that starts as the identity.

    Features are normalised pixel by pixel over the channels (Karras et al. 2018): training is as
    stable as with statistics, and no pixel depends on the rest of the batch or of the picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → the same."""
        scale = torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)
        return x + self.conv2(_act(self.conv1(_act(x * scale))))


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class Painter(nn.Module):
    """Repaint a canvas of textures so that it becomes the portrait that the mask describes.

    A U-Net between strides 4 and 16 with a light tail to full resolution, that answers with what to
    add to the canvas: it starts by keeping it. (A gate between canvas and a new picture closes in
    the first hundred steps and never opens again.)

    Args:
        classes: K.
        width: channels at stride 4; twice and three times as many at strides 8 and 16.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        w4, w8, w16, half = width, 2 * width, 3 * width, width // 2
        self.guide = nn.Conv2d(16 * classes, w4, 1)
        self.enter = nn.Conv2d(16 * 4 + w4, w4, 3, padding=1)
        self.stride4 = Block(w4)
        self.down8 = nn.Conv2d(w4, w8, 4, 2, 1)
        self.stride8 = Block(w8)
        self.down16 = nn.Conv2d(w8, w16, 4, 2, 1)
        self.stride16 = nn.Sequential(Block(w16), Block(w16))
        self.up8 = nn.Conv2d(w16, 4 * w8, 1)
        self.merge8 = Block(w8)
        self.up4 = nn.Conv2d(w8, 4 * w4, 1)
        self.merge4 = Block(w4)
        self.up2 = nn.Conv2d(w4, 4 * half, 1)
        self.tail1 = nn.Conv2d(half + 4 * 4, half, 3, padding=1)
        self.tail2 = nn.Conv2d(half, 4 * 3, 3, padding=1)
        nn.init.zeros_(self.tail2.weight)
        nn.init.zeros_(self.tail2.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, canvas: Tensor, onehot: Tensor) -> Tensor:
        """(B, 4, S, S) texture and what of it is known, (B, K, S, S) mask → (B, 3, S, S)."""
        guide = self.guide(F.pixel_unshuffle(onehot, 4))
        x4 = self.stride4(self.enter(torch.cat([F.pixel_unshuffle(canvas, 4), guide], 1)))
        x8 = self.stride8(self.down8(_act(x4)))
        x16 = self.stride16(self.down16(_act(x8)))
        x8 = self.merge8(x8 + F.pixel_shuffle(self.up8(_act(x16)), 2))
        x4 = self.merge4(x4 + F.pixel_shuffle(self.up4(_act(x8)), 2))
        x2 = F.pixel_shuffle(self.up2(_act(x4)), 2)
        x2 = _act(self.tail1(_act(torch.cat([x2, F.pixel_unshuffle(canvas, 2)], 1))))
        return canvas[:, :3] + F.pixel_shuffle(self.tail2(x2), 2).tanh()


class Textures:
    """The compact way: textures taken out, laid into the target's mask, repainted."""

    def __init__(self, names: LabelSet, size: int, width: int) -> None:
        self.names, self.size, self.width = names, size, width

    def networks(self) -> dict[str, nn.Module]:
        """Return what is trained as the generator's side."""
        return {"generator": Painter(len(self.names), self.width)}

    def _frames(self, labels: Tensor) -> Iterable[tuple[str, Texture, Tensor, Tensor]]:
        """Yield name, texture, its mask (B, 1, S, S) and its box with a margin (B, 4)."""
        for name, texture in TEXTURES.items():
            mask = mask_of(labels, self._values(texture.classes))
            box, _ = spans(mask_of(labels, self._values(texture.around or texture.classes)))
            margin = (box[:, 2:] - box[:, :2]) * 0.25 + 2 * self.size / 256
            yield (
                name,
                texture,
                mask[:, None].float(),
                torch.cat([box[:, :2] - margin, box[:, 2:] + margin], 1),
            )

    def _values(self, classes: Sequence[str]) -> tuple[int, ...]:
        return self.names.values(*(name for name in classes if name in self.names.classes))

    def encode(self, nets: nn.ModuleDict, picture: Tensor, labels: Tensor) -> PartCodes:
        """Return every texture as (B, 4, h, w): colour, spread over holes, and what is known."""
        codes: PartCodes = {part: {} for part in PARTS}
        for name, texture, mask, box in self._frames(labels):
            seen = torch.cat([picture * mask, mask], 1)
            if texture.shape is not None:
                h, w = (n * self.size // 256 for n in texture.shape)
                seen = take(seen, box, (h, w))
            codes[texture.part][name] = _spread(seen, texture.colour)
        codes["skin"]["anchors"] = self._anchors(labels)
        return codes

    def _anchors(self, labels: Tensor) -> Tensor:
        """Return (B, 5 n, 3): y, x in pixels and 1 if seen, of the n features the skin lies around.

        Middle, top, bottom, left and right of each.
        """
        anchors: list[Tensor] = []
        for classes in _FEATURES:
            box, seen = spans(mask_of(labels, self._values(classes)))
            (y0, x0, y1, x1), there = box.unbind(1), seen.to(box.dtype)
            y, x = (y0 + y1) / 2, (x0 + x1) / 2
            points = ((y, x), (y0, x), (y1, x), (y, x0), (y, x1))
            anchors += [torch.stack([*point, there], 1) for point in points]
        return torch.stack(anchors, 1)

    def _follow(self, skin: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Move skin with the features around which it lies, from their old to their new places.

        A pixel moves as the anchors near it do (Gaussian weights, Shepard 1968), far ones not at
        all. Where nothing moved, nothing changes.
        """
        side, step = self.size, 8
        axis = (torch.arange(side // step, device=skin.device) + 0.5) * step
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        place = torch.stack([y, x], -1)[None, ..., None, :]  # (1, g, g, 1, 2)
        away = (place - target[:, None, None, :, :2]).square().sum(-1)
        weight = (
            torch.exp(away / (-2 * (0.06 * side) ** 2)) * (source * target)[:, None, None, :, 2]
        )
        moved = (source - target)[:, None, None, :, :2]
        shift = (weight[..., None] * moved).sum(3) / (weight.sum(3, keepdim=True) + 0.05)
        shift = F.interpolate(shift.movedim(-1, 1), scale_factor=step, mode="bilinear")
        still = F.affine_grid(
            torch.eye(2, 3, device=skin.device).expand(len(skin), -1, -1),
            list(skin.shape),
            align_corners=False,
        )
        grid = still + shift.flip(1).movedim(1, -1) * (2 / side)
        return F.grid_sample(skin, grid, padding_mode="border", align_corners=False)

    def paint(
        self, nets: nn.ModuleDict, codes: PartCodes, labels: Tensor, picture: Tensor, known: Tensor
    ) -> Tensor:
        """Lay the textures into a label map and repaint; `known` is where `picture` may be used."""
        side = (self.size, self.size)
        outside = torch.ones_like(known)
        canvas = torch.zeros_like(picture[:, :1]).repeat(1, 4, 1, 1)
        for name, texture, mask, box in self._frames(labels):
            code = codes[texture.part][name]
            if name == "skin":
                code = self._follow(code, codes["skin"]["anchors"], self._anchors(labels))
            canvas = canvas + mask * (code if texture.shape is None else put(code, box, side))
            outside = outside - mask
        known = known * outside
        canvas = canvas + outside * _spread(torch.cat([picture * known, known], 1), (0.5, 0.5, 0.5))
        return nets["generator"](canvas, one_hot(labels, len(self.names)))


def _spread(seen: Tensor, absent: tuple[float, float, float]) -> Tensor:
    """Fill the holes of a masked picture (B, 4, h, w) = colour × mask, mask; or be `absent`.

    Pixels at the mask's rim are mixtures with what lies beyond it: they stay where they are, but
    next to nothing of them spreads.
    """
    mask = seen[:, 3:]
    colour = seen[:, :3] / mask.clamp(min=1e-3)
    inner = 1 - F.max_pool2d(1 - mask, 3, 1, 1)
    filled, present = fill_holes(colour, 0.02 * mask + 0.98 * inner)
    filled = torch.where(present, filled, 2 * seen.new_tensor(absent)[:, None, None] - 1)
    return torch.cat([mask * colour + (1 - mask) * filled, mask], 1)
