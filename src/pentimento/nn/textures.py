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
from pentimento.ops.parts import bounding_boxes, fill_holes, mask_of, put, take


@dataclass(frozen=True)
class Texture:
    """One piece of a part's code; sizes are those of a 256-pixel picture.

    Attributes:
        part: whose code it belongs to.
        classes: what it covers.
        shape: (height, width) of its frame, or None: the whole picture, in place.
        around: classes whose common box is the frame; `classes` where empty.
    """

    part: str
    classes: tuple[str, ...]
    shape: tuple[int, int] | None = None
    around: tuple[str, ...] = ()


_MOUTH: Final = ("mouth", "u_lip", "l_lip")
TEXTURES: Final = {
    "right_eye": Texture("right_eye", ("r_eye",), (32, 64)),
    "left_eye": Texture("left_eye", ("l_eye",), (32, 64)),
    "skin": Texture("skin", ("skin", "l_ear", "r_ear")),
    "nose": Texture("skin", ("nose",), (96, 64)),
    "right_brow": Texture("skin", ("r_brow",), (32, 64)),
    "left_brow": Texture("skin", ("l_brow",), (32, 64)),
    "hair": Texture("hair", ("hair",)),
    "lips": Texture("mouth", ("u_lip", "l_lip"), (64, 128), _MOUTH),
    "teeth": Texture("mouth", ("mouth",), (64, 128), _MOUTH),
}
"""Neck, clothes, hats, glasses and jewellery have no texture: they are the picture's."""


class Block(nn.Module):
    """Pre-activation residual block that starts as the identity; no normalisation.

    Without statistics a pixel's colour does not depend on the rest of the batch or of the picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → the same."""
        return x + self.conv2(_act(self.conv1(_act(x))))


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class Painter(nn.Module):
    """Repaint a canvas of textures so that it becomes the portrait that the mask describes.

    A U-Net between strides 4 and 16 with a light tail to full resolution. It answers with a
    picture and with a gate that says how much of the canvas may stay, and starts by keeping it.

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
        self.tail2 = nn.Conv2d(half, 4 * 4, 3, padding=1)
        with torch.no_grad():
            self.tail2.bias[12:] = 3.0  # type: ignore[index]  # the gate: sigmoid(3) = 0.95

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
        answer = F.pixel_shuffle(self.tail2(x2), 2)
        keep = answer[:, 3:].sigmoid()
        return keep * canvas[:, :3] + (1 - keep) * answer[:, :3].tanh()


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
            box, _ = bounding_boxes(
                mask_of(labels, self._values(texture.around or texture.classes))
            )
            margin = (box[:, 2:] - box[:, :2]) * 0.15 + 2 * self.size / 256
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
            codes[texture.part][name] = _spread(seen)
        return codes

    def paint(
        self, nets: nn.ModuleDict, codes: PartCodes, labels: Tensor, picture: Tensor, known: Tensor
    ) -> Tensor:
        """Lay the textures into a label map and repaint; `known` is where `picture` may be used."""
        side = (self.size, self.size)
        outside = torch.ones_like(known)
        canvas = torch.zeros_like(picture[:, :1]).repeat(1, 4, 1, 1)
        for name, texture, mask, box in self._frames(labels):
            code = codes[texture.part][name]
            canvas = canvas + mask * (code if texture.shape is None else put(code, box, side))
            outside = outside - mask
        known = known * outside
        canvas = canvas + outside * _spread(torch.cat([picture * known, known], 1))
        return nets["generator"](canvas, one_hot(labels, len(self.names)))


def _spread(seen: Tensor) -> Tensor:
    """Fill the holes of a masked picture (B, 4, h, w) = colour × mask, mask.

    Pixels at the mask's rim are mixtures with what lies beyond it: they stay where they are, but
    next to nothing of them spreads.
    """
    mask = seen[:, 3:]
    colour = seen[:, :3] / mask.clamp(min=1e-3)
    inner = 1 - F.max_pool2d(1 - mask, 3, 1, 1)
    filled, _ = fill_holes(colour, 0.02 * mask + 0.98 * inner)
    return torch.cat([mask * colour + (1 - mask) * filled, mask], 1)
