"""Style transfer: the content of one picture in the manner of another (Johnson et al., ECCV 2016).

Implemented: the transformer network, trained once per style and then applied to any picture in one
pass; content and style (Gram) losses through a frozen judge, or a style loss of patches; total
variation; and the slow way that
needs no training, optimising a picture's own pixels (Gatys et al., CVPR 2016), as `optimise`.

Differs:
- Instance normalisation and resize-convolutions, as in the PyTorch examples' code; the paper has
  batch normalisation and transposed convolutions.
- The last layer paints in units of 16 and starts from grey: in the official units its weights have
  sixteen times the way to go.
- Where there is no file of VGG-16, the bundled feature network judges; `judge` says which. Its Gram
  matrices are matched by noise as well as by strokes: with `manner=patches` it judges the content
  only, normalised per channel, and the style is compared by patches of pixels (`losses.patches`).
- The learning rate falls over the second half.

Alphabet: B batch; C channels of a level; H, W, S size. Pictures are in [-1, 1]; the network itself
takes and gives [0, 255], so that official checkpoints fit.

Train: `pentimento train style_transfer --data pictures:DIR --out runs/style --set style=night.jpg`.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.faces import Faces, FaceSample
from pentimento.data.pictures import Folder, PictureSample, open_pictures, read_style
from pentimento.engine.schedules import linear_decay
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.errors import ConfigError
from pentimento.losses.patches import nearest_patches, patch_distribution
from pentimento.losses.perceptual import Judge, check_judge, gram
from pentimento.ops.pad import pad_to_multiple
from pentimento.systems.generate.pix2pix import Direction

STYLE_LEVELS: Final = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
LAST_UNIT: Final = 16.0
_HALF: Final = 127.5


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The network, the style and the course of training.

    Attributes:
        style: the picture whose manner is learnt: a file, or `painting:SEED`, which is drawn.
        style_size: shorter side to which it is scaled; finer strokes with smaller ones.
        width: channels of the first layer.
        blocks: residual blocks.
        beside: whether the network paints beside the picture, which is added: content is there from
            the first step, and minutes are enough. The paper's begins with grey.
        size: S of the training pictures.
        manner: what of the style is compared: `gram`, Gram matrices of the judge's features, as in
            the paper; or `patches`, small patches of the pixels, which need no judge.
        judge: whose features are compared: `features` (bundled), `vgg16:FILE` or `vgg19:FILE`.
        content_level: which level's features are the content, from 0 on; a coarser one leaves the
            style more freedom. 1 in the paper, of VGG; of `features` the last, 3, does best.
        content_weight: of them.
        style_weight: of the Gram matrices of the first four levels, or of the patches.
        smooth_weight: of the total variation.
        lr: Adam's learning rate.
        batch_size: 4 in the paper.
        steps: length of a run; two epochs of COCO in the paper.
    """

    style: str = "painting:0"
    style_size: int = 256
    width: int = 32
    blocks: int = 5
    beside: bool = False
    manner: Literal["gram", "patches"] = "gram"
    size: int = 256
    judge: str = "features"
    content_level: int = 3
    content_weight: float = 1.0
    style_weight: float = 200.0
    smooth_weight: float = 10.0
    lr: float = 1e-3
    batch_size: int = 4
    steps: int = 40_000

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved three times, and unknown judges."""
        if self.size % 8 or self.size < 32:
            raise ValueError(f"size must be a multiple of 8, from 32 on; got {self.size}")
        if self.style_size < 32:
            raise ValueError(f"style_size must be at least 32, got {self.style_size}")
        if not 0 <= self.content_level < len(STYLE_LEVELS):
            raise ValueError(f"content_level is one of 0 to 3, got {self.content_level}")
        if not self.style:
            raise ValueError("style: a picture file or painting:SEED")
        check_judge(self.judge)


def paper() -> Config:
    """Return the PyTorch examples' numbers; `vgg16.safetensors` must lie in the working folder."""
    return Config(
        judge="vgg16:vgg16.safetensors", content_level=1, content_weight=1e5, style_weight=1e10,
        smooth_weight=0.0,
    )  # fmt: skip


def compact() -> Config:
    """Return a network with a quarter of the arithmetic; minutes on a CPU core."""
    return Config(
        width=16, blocks=4, beside=True, manner="patches", size=128, content_level=2,
        content_weight=0.2, style_weight=1.0, smooth_weight=0.0, batch_size=2, steps=1_500,
    )  # fmt: skip


def tiny() -> Config:
    """Return a network for tests."""
    return Config(style_size=32, width=4, blocks=1, size=32, batch_size=2, steps=4)


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


def open_data(spec: str, split: Split, config: Config) -> Folder | Faces:
    """Open the pictures whose content is kept; see `pentimento.data.pictures`."""
    return open_pictures(spec, split, config.size)


@plain_dataclass(frozen=True)
class Batch:
    """Pictures.

    Attributes:
        image: (B, 3, S, S) in [-1, 1].
    """

    image: Tensor


# --- networks -------------------------------------------------------------------------------------


def _layer(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, padding_mode="reflect")
    # A group norm with one channel per group is instance normalisation with a gain and a shift.
    norm = nn.GroupNorm(c_out, c_out)
    return nn.Sequential(OrderedDict(conv=conv, norm=norm, relu=nn.ReLU()))


class Block(nn.Module):
    """Two normalised 3 × 3 convolutions beside the identity; no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _layer(channels, channels, 3)
        self.second = _layer(channels, channels, 3)[:2]

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, h, w)."""
        changed: Tensor = self.second(self.first(x))
        return x + changed


class Transformer(nn.Module):
    """Two halvings, residual blocks, two doublings by repetition; 9 × 9 at both ends.

    Args:
        width: channels of the first layer.
        blocks: number of residual blocks.
    """

    def __init__(self, width: int = 32, blocks: int = 5) -> None:
        super().__init__()
        self.first = _layer(3, width, 9)
        self.down = nn.Sequential(
            _layer(width, 2 * width, 3, 2), _layer(2 * width, 4 * width, 3, 2)
        )
        self.blocks = nn.Sequential(*(Block(4 * width) for _ in range(blocks)))
        self.up = nn.ModuleList([_layer(4 * width, 2 * width, 3), _layer(2 * width, width, 3)])
        self.last = nn.Conv2d(width, 3, 9, padding=4, padding_mode="reflect")

    def forward(self, picture: Tensor) -> Tensor:
        """Paint (B, 3, H, W) in [0, 255] anew; the result may leave that range.

        Sides that are no multiples of 4 come out rounded up to the next one.
        """
        x = self.blocks(self.down(self.first(picture)))
        for layer in self.up:
            x = layer(F.interpolate(x, scale_factor=2.0))
        painted: Tensor = LAST_UNIT * self.last(x)
        return painted


# --- losses ---------------------------------------------------------------------------------------


def content_and_style(
    seen: Sequence[Tensor], content: Tensor, style: Sequence[Tensor], config: Config
) -> dict[str, Tensor]:
    """Return both losses of a painted picture.

    Args:
        seen: its features, fine to coarse.
        content: those of the picture it was painted from, at `content_level`.
        style: Gram matrices (1, C, C) of the style picture, per level.
        config: for the weights.
    """
    apart = [
        F.mse_loss(gram(x), g.expand(len(x), -1, -1)) for x, g in zip(seen, style, strict=True)
    ]
    return {
        "content": config.content_weight * F.mse_loss(seen[config.content_level], content),
        "style": config.style_weight * torch.stack(apart).sum(),
    }


def content_and_patches(
    painted: Tensor, style: Tensor, seen: Sequence[Tensor], content: Tensor, config: Config
) -> dict[str, Tensor]:
    """Return both losses of painted pictures, the style's by patches.

    Args:
        painted: (B, 3, S, S).
        style: (1, 3, H, W), the style picture.
        seen: as in `content_and_style`.
        content: likewise. Channels are normalised: a painting may be bluer and darker.
        config: for the weights.
    """
    shape, wanted = (F.group_norm(x, x.shape[1]) for x in (seen[config.content_level], content))
    apart = patch_distribution(painted, style) + nearest_patches(painted, style)
    return {
        "content": config.content_weight * F.mse_loss(shape, wanted),
        "style": config.style_weight * apart,
    }


def total_variation(picture: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours, downwards and across."""
    down, across = picture.diff(dim=2), picture.diff(dim=3)
    return down.abs().mean() + across.abs().mean()


# --- the system -----------------------------------------------------------------------------------


class StyleTransfer:
    """The transformer network of one style, its training, and the slow way without it.

    Args:
        config: see `Config`.
    """

    score: Final[tuple[str, Literal["max", "min"]]] = ("loss", "min")

    def __init__(self, config: Config) -> None:
        c = self.config = config
        network = Transformer(c.width, c.blocks)
        bias = network.last.bias
        assert bias is not None
        if c.beside:  # the picture itself is where it begins
            nn.init.zeros_(network.last.weight)
            nn.init.zeros_(bias)
        else:
            nn.init.constant_(bias, 128 / LAST_UNIT)
        self.networks = nn.ModuleDict({"transformer": network})
        self.optimizers = {
            "transformer": OptimizerSpec(("transformer",), c.lr, schedule=linear_decay(0.5))
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps
        self._judge = Judge(c.judge, STYLE_LEVELS)
        self._style: Tensor | None = None
        self._grams: list[Tensor] = []

    def collate(self, samples: Sequence[PictureSample | FaceSample]) -> Batch:
        """Stack pictures."""
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        return Batch(image.float() / _HALF - 1)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Paint, compare content with the picture's and manner with the style's, update."""
        terms = self._terms(self._paint(batch.image), batch.image)
        update("transformer", terms)
        return terms

    def _paint(self, image: Tensor) -> Tensor:
        painted: Tensor = self.networks["transformer"]((image + 1) * _HALF) / _HALF
        return image + painted if self.config.beside else painted - 1

    def _terms(self, painted: Tensor, image: Tensor) -> dict[str, Tensor]:
        c = self.config
        with torch.no_grad():
            content = self._judge(image)[c.content_level]
            if self._style is None:
                pixels = torch.from_numpy(read_style(c.style, c.style_size).copy())
                self._style = pixels.to(image.device).permute(2, 0, 1)[None].float() / _HALF - 1
                self._grams = [gram(x) for x in self._judge(self._style)]
        seen = self._judge(painted)
        if c.manner == "patches":
            terms = content_and_patches(painted, self._style, seen, content, c)
        else:
            terms = content_and_style(seen, content, self._grams, c)
        if c.smooth_weight:
            terms["smooth"] = c.smooth_weight * total_variation(painted)
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure both losses on pictures that were not trained on, and their sum."""
        found: dict[str, list[float]] = {"content": [], "style": []}
        for batch in batches:
            terms = self._terms(self._paint(batch.image), batch.image)
            for name, values in found.items():
                values.append(float(terms[name]))
        means = {name: float(np.mean(values)) for name, values in found.items()}
        return {"loss": sum(means.values()), **means}

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: as it was, and as painted."""
        columns = [batch.image, self._paint(batch.image)]
        return torch.stack([(x / 2 + 0.5).clamp(0, 1) for x in columns], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the SHA-256 of the judge's file."""
        return {"judge": self._judge.digest}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take it back: a run goes on with the judge it began with."""
        self._judge.digest = state["judge"]

    # --- use

    def channels(self, direction: Direction | None = None) -> int:
        """Return 3: `predict` takes colour pictures, and goes one way only."""
        if direction == "BtoA":
            raise ConfigError("this model paints pictures in its style (AtoB) only")
        return 3

    @torch.no_grad()
    def predict(
        self, condition: Tensor, *, direction: Direction | None = None, seed: int = 0
    ) -> Tensor:
        """Paint pictures in the learnt style.

        Args:
            condition: (B, 3, H, W) in [-1, 1], of any size; the network is on its device.
            direction: `AtoB`, if given.
            seed: unused; there is no noise.

        Returns:
            (B, 3, H, W) in [-1, 1].
        """
        if condition.shape[1] != self.channels(direction):
            raise ValueError(f"expected (B, 3, H, W), got {tuple(condition.shape)}")
        height, width = condition.shape[2:]
        self.networks.eval()
        painted = self._paint(pad_to_multiple(condition, 4, least=32))
        return painted[..., :height, :width].clamp(-1, 1)

    def optimise(self, condition: Tensor, steps: int = 200, lr: float = 0.02) -> Tensor:
        """Paint pictures without the network, by changing their pixels (Gatys et al. 2016).

        The losses are those of training. Seconds to minutes per picture; nothing is learnt.

        Args:
            condition: (B, 3, H, W) in [-1, 1], at least 32 pixels on each side.
            steps: of Adam.
            lr: its learning rate, in units of the pixels; it falls over the second half.

        Returns:
            (B, 3, H, W) in [-1, 1].
        """
        pixels = condition.clone().requires_grad_()
        optimizer, factor = torch.optim.Adam([pixels], lr), linear_decay(0.5)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * factor(step / steps)
            optimizer.zero_grad()
            loss = torch.stack(list(self._terms(pixels, condition).values())).sum()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
            optimizer.step()
        return pixels.detach().clamp(-1, 1)
