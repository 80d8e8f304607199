"""Super-resolution: the large picture behind a small one (SRGAN, Ledig et al. 2017; ESRGAN, 2018).

Implemented: the residual generator of SRGAN without its batch norms (×2, ×3, ×4) and RRDB (×2, ×4)
as BasicSR has them; VGG's shape as a critic; a squared or absolute pixel loss, a perceptual one and
an adversarial one, plain or relativistic average (Jolicoeur-Martineau 2019). Squares alone ask for
the mean of all pictures that could be behind the small one, which is a blurred one; a critic asks
for one of them. `adversarial_from` gives squares the time that they need first.

Differs:
- SRGAN's batch norms and PReLU are left out, as EDSR and BasicSR do; the base is the bilinear
  enlargement, and the network paints what is missing.
- Both stages are one run. The critic starts with the second.
- Where there is no file of VGG-19, the bundled feature network judges, all levels alike.
- Small pictures are made by antialiased bicubic means and rounded to 8 bits.

Alphabet: B batch; s scale; S side of the large picture, S/s of the small one. The networks see
[0, 1], as officially; `predict` takes and gives [-1, 1].

Train: `pentimento train super_resolution --data pictures:DIR --out runs/large`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from itertools import pairwise, product
from typing import Any, Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.pictures import PictureSample, open_pictures
from pentimento.engine.schedules import Schedule, linear_decay
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.errors import ConfigError
from pentimento.losses.adversarial import cross_entropy
from pentimento.losses.perceptual import Judge, check_judge, look_alike
from pentimento.metrics.images import psnr, sharpness, ssim
from pentimento.ops.pad import pad_to_multiple
from pentimento.systems.generate.pix2pix import Direction

_TILE: Final = 128


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The networks and the course of training.

    Attributes:
        scale: s.
        generator: `srresnet`, or `rrdb` (×2 and ×4).
        width: channels.
        blocks: residual blocks, or residual-in-residual dense blocks.
        growth: channels that each layer of a dense block adds.
        load_size: side to which a training picture is scaled before S is cut out of it.
        size: S; a multiple of 16 and of s.
        pixel: `mse` or `l1`.
        pixel_weight: of that.
        judge: whose features are compared: `features` (bundled), `vgg19:FILE` or `none`.
        perceptual_weight: of their mean absolute difference.
        adversarial: `relativistic`, `plain` or `none`.
        adversarial_weight: of the critic's opinion.
        adversarial_from: share of the run before perceptual and adversarial terms begin.
        critic_width: channels of the critic's first layer.
        lr: Adam's learning rate; it falls to 0 over the second half of each part of the run.
        batch_size: 16 in the papers.
        steps: length of a run.
    """

    scale: Literal[2, 3, 4] = 4
    generator: Literal["srresnet", "rrdb"] = "srresnet"
    width: int = 64
    blocks: int = 16
    growth: int = 32
    load_size: int = 256
    size: int = 128
    pixel: Literal["mse", "l1"] = "l1"
    pixel_weight: float = 1e-2
    judge: str = "features"
    perceptual_weight: float = 1.0
    adversarial: Literal["relativistic", "plain", "none"] = "relativistic"
    adversarial_weight: float = 5e-3
    adversarial_from: float = 0.5
    critic_width: int = 64
    lr: float = 2e-4
    batch_size: int = 16
    steps: int = 400_000

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit and terms that nothing can give."""
        if self.size % 16 or self.size % self.scale or self.size < 32:
            raise ValueError(
                f"size must be a multiple of 16 and of {self.scale}, from 32 on; got {self.size}"
            )
        if self.load_size < self.size:
            raise ValueError(f"load_size must be at least size, got {self.load_size}")
        if self.generator == "rrdb" and self.scale == 3:
            raise ValueError("rrdb enlarges by 2 or 4; choose generator=srresnet for 3")
        if not 0 <= self.adversarial_from < 1:
            raise ValueError("adversarial_from is a share of the run, from 0 to below 1")
        if self.judge != "none":
            check_judge(self.judge)


def paper() -> Config:
    """Return ESRGAN's numbers; the file `vgg19.safetensors` must lie in the working folder."""
    return Config(generator="rrdb", blocks=23, judge="vgg19:vgg19.safetensors", lr=1e-4)


def srresnet() -> Config:
    """Return SRGAN's generator by squares alone: the PSNR-minded one, and blurred."""
    return Config(
        pixel="mse", pixel_weight=1.0, judge="none", adversarial="none", adversarial_from=0.0,
        lr=1e-4,
    )  # fmt: skip


def compact() -> Config:
    """Return a generator with an eighth of the weights, judged by the bundled network."""
    return Config(
        width=32, blocks=8, size=96, critic_width=24, pixel_weight=1.0, perceptual_weight=0.1,
        adversarial_weight=1e-3, batch_size=8, lr=4e-4, steps=3_000,
    )  # fmt: skip


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        scale=2, width=4, blocks=1, load_size=48, size=32, critic_width=4, batch_size=2, steps=4
    )


PRESETS: Final = {"paper": paper, "srresnet": srresnet, "compact": compact, "tiny": tiny}


class Crops:
    """Squares cut out of larger squares; the engine's `Dataset` of `PictureSample`.

    Args:
        pictures: the larger squares.
        size: S.
        varied: cut and mirror anywhere; else the middle.
    """

    def __init__(self, pictures: Dataset[Any], size: int, *, varied: bool) -> None:
        self._pictures, self._size, self._varied = pictures, size, varied

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._pictures)

    def sample(self, index: int, rng: np.random.Generator) -> PictureSample:
        """Return a square of picture `index`."""
        whole: NDArray[np.uint8] = self._pictures.sample(index, rng).image
        spare = len(whole) - self._size
        top, left = rng.integers(0, spare + 1, 2) if self._varied else (spare // 2, spare // 2)
        cut = whole[top : top + self._size, left : left + self._size]
        if self._varied and rng.random() < 0.5:
            cut = cut[:, ::-1]
        return PictureSample(np.ascontiguousarray(cut))


def open_data(spec: str, split: Split, config: Config) -> Crops:
    """Open pictures; see `pentimento.data.pictures`."""
    return Crops(open_pictures(spec, split, config.load_size), config.size, varied=split == "train")


@plain_dataclass(frozen=True)
class Batch:
    """Pictures at two sizes.

    Attributes:
        small: (B, 3, S/s, S/s) in [0, 1].
        large: (B, 3, S, S) in [0, 1].
    """

    small: Tensor
    large: Tensor


def reduce(large: Tensor, scale: int) -> Tensor:
    """Return pictures (B, 3, H, W) in [0, 1] at 1/s of their size, in steps of 1/255."""
    small = F.interpolate(large, scale_factor=1 / scale, mode="bicubic", antialias=True)
    return (small.clamp(0, 1) * 255).round() / 255


# --- networks -------------------------------------------------------------------------------------


def _conv(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(width, width), _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, h, w)."""
        changed: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + changed


class SRResNet(nn.Module):
    """Residual blocks on the small picture, then sub-pixel convolutions (Shi et al. 2016)."""

    def __init__(self, scale: int, width: int, blocks: int) -> None:
        super().__init__()
        self.scale = scale
        self.halo = 2 * blocks + 4  # how far a small pixel is seen
        self.conv_first = _conv(3, width)
        self.body = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        factors = [2, 2] if scale == 4 else [scale]
        self.ups = nn.ModuleList(_conv(width, factor**2 * width) for factor in factors)
        self.conv_hr, self.conv_last = _conv(width, width), _conv(width, 3)

    def forward(self, small: Tensor) -> Tensor:
        """Enlarge (B, 3, h, w) to (B, 3, s·h, s·w)."""
        x = self.body(F.leaky_relu(self.conv_first(small), 0.1))
        for up in self.ups:
            x = F.leaky_relu(F.pixel_shuffle(up(x), self.scale if len(self.ups) == 1 else 2), 0.1)
        painted: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.1))
        return painted + F.interpolate(small, scale_factor=float(self.scale), mode="bilinear")


class Dense(nn.Module):
    """Five convolutions, each of which sees all before it; a fifth of the last is added."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        widths = [width + n * growth for n in range(5)]
        self.convs = nn.ModuleList(
            _conv(seen, growth if n < 4 else width) for n, seen in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, h, w)."""
        seen = [x]
        for conv in self.convs[:4]:
            seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), 0.2))
        last: Tensor = self.convs[4](torch.cat(seen, 1))
        return x + 0.2 * last


class RRDB(nn.Module):
    """Three dense blocks; a fifth of their outcome is added."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(Dense(width, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, h, w)."""
        changed: Tensor = self.dense(x)
        return x + 0.2 * changed


class RRDBNet(nn.Module):
    """RRDBs on the small picture, then two doublings; for ×2 the small one is folded first."""

    halo: Final = 32  # it sees farther, but what it sees there fades

    def __init__(self, scale: int, width: int, blocks: int, growth: int) -> None:
        super().__init__()
        self.scale, self.fold = scale, 4 // scale
        self.conv_first = _conv(3 * self.fold**2, width)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)))
        self.conv_body = _conv(width, width)
        self.ups = nn.ModuleList(_conv(width, width) for _ in range(2))
        self.conv_hr, self.conv_last = _conv(width, width), _conv(width, 3)

    def forward(self, small: Tensor) -> Tensor:
        """Enlarge (B, 3, h, w) to (B, 3, s·h, s·w); both sides multiples of 4/s."""
        x = self.conv_first(F.pixel_unshuffle(small, self.fold))
        x = x + self.conv_body(self.body(x))
        for up in self.ups:
            x = F.leaky_relu(up(F.interpolate(x, scale_factor=2.0)), 0.2)
        painted: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))
        return painted


class VGGCritic(nn.Module):
    """Convolutions in pairs, the second of which halves, down to 4 × 4; then two linear layers.

    Args:
        size: S; 2^n times a side of 4 to 7.
        width: channels of the first level; doubled per level up to 8 ×.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        depth = (size // 4).bit_length() - 1
        widths = [3, *(width * min(2**n, 8) for n in range(depth))]
        self.levels = nn.ModuleList()
        for n, (a, b) in enumerate(pairwise(widths)):
            level = nn.ModuleDict({"conv0": nn.Conv2d(a, b, 3, 1, 1, bias=n == 0)})
            if n:
                level["norm0"] = nn.BatchNorm2d(b)
            level["conv1"] = nn.Conv2d(b, b, 4, 2, 1, bias=False)
            level["norm1"] = nn.BatchNorm2d(b)
            self.levels.append(level)
        self.linear1 = nn.Linear(widths[-1] * (size >> depth) ** 2, 100)
        self.linear2 = nn.Linear(100, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """Score (B, 3, S, S): (B, 1), unbounded."""
        x = picture
        for level in self.levels:
            assert isinstance(level, nn.ModuleDict)
            for n in ("0", "1"):
                x = level[f"conv{n}"](x)
                if f"norm{n}" in level:
                    x = level[f"norm{n}"](x)
                x = F.leaky_relu(x, 0.2)
        scores: Tensor = self.linear2(F.leaky_relu(self.linear1(x.flatten(1)), 0.2))
        return scores


def build_generator(config: Config) -> SRResNet | RRDBNet:
    """Return the generator that a configuration describes, its weights drawn."""
    c = config
    if c.generator == "srresnet":
        network: SRResNet | RRDBNet = SRResNet(c.scale, c.width, c.blocks)
    else:
        network = RRDBNet(c.scale, c.width, c.blocks, c.growth)
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and conv.bias is not None:
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= 0.1  # as ESRGAN begins: close to its base
            nn.init.zeros_(conv.bias)
    return network


# --- losses ---------------------------------------------------------------------------------------


def opinions(reals: Tensor, fakes: Tensor, *, truth: bool, relative: bool) -> Tensor:
    """Return half of what a critic pays (`truth`), or of what its opponent does (not `truth`).

    Args:
        reals: (B, 1) scores of true pictures.
        fakes: of painted ones.
        truth: whether true ought to look true and painted painted, or the other way round.
        relative: scores count from the mean score of the other kind.
    """
    ours, theirs = (reals - fakes.mean(), fakes - reals.mean()) if relative else (reals, fakes)
    return 0.5 * (cross_entropy([ours], truth) + cross_entropy([theirs], not truth))


# --- the system -----------------------------------------------------------------------------------


class SuperResolution:
    """Generator and critic, both stages of training, and enlarging of pictures of any size.

    Args:
        config: see `Config`.
    """

    def __init__(self, config: Config) -> None:
        c = self.config = config
        self.networks = nn.ModuleDict({"generator": build_generator(c)})
        if c.adversarial != "none":
            self.networks["critic"] = VGGCritic(c.size, c.critic_width)
        schedule = linear_decay(0.5) if c.adversarial_from == 0 else _two_parts(c.adversarial_from)
        self.optimizers: Mapping[str, OptimizerSpec] = {
            name: OptimizerSpec((name,), c.lr, (0.9, 0.99), schedule=schedule)
            for name in self.networks
        }
        self.averaged: tuple[str, ...] = ("generator",)
        self.batch_size, self.steps = c.batch_size, c.steps
        self._judge = None if c.judge == "none" else Judge(c.judge, ["conv5_4"])
        self.score: tuple[str, Literal["max", "min"]] = (
            ("looks", "min") if self._judge else ("psnr", "max")
        )
        self._step = 0

    def collate(self, samples: Sequence[PictureSample]) -> Batch:
        """Stack pictures and make them small."""
        large = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        large = large.float() / 255
        return Batch(reduce(large, self.config.scale), large)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Update the generator; with a critic and in the second stage, the critic after it."""
        c = self.config
        second = self._step >= c.adversarial_from * c.steps
        self._step += 1
        fake = self.networks["generator"](batch.small)
        distance = F.mse_loss if c.pixel == "mse" else F.l1_loss
        # The pixel term alone has weight 1: what it weighs is said in relation to the others.
        weight = c.pixel_weight if second else 1.0
        terms = {"generator/pixel": weight * distance(fake, batch.large)}
        if second:
            terms |= self._second_terms(batch, fake)
        update("generator", terms)
        if not (second and c.adversarial != "none"):
            return terms
        critic = {
            "critic/opinion": opinions(
                self.networks["critic"](batch.large),
                self.networks["critic"](fake.detach()),
                truth=True,
                relative=c.adversarial == "relativistic",
            )
        }
        update("critic", critic)
        return terms | critic

    def _second_terms(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        c, terms = self.config, dict[str, Tensor]()
        if self._judge is not None:
            with torch.no_grad():
                reals = self._judge(batch.large * 2 - 1)
            apart = [
                F.l1_loss(one, other)
                for one, other in zip(self._judge(fake * 2 - 1), reals, strict=True)
            ]
            terms["generator/perceptual"] = c.perceptual_weight * torch.stack(apart).mean()
        if c.adversarial != "none":
            critic = self.networks["critic"]
            scored = opinions(
                critic(batch.large).detach(),
                critic(fake),
                truth=False,
                relative=c.adversarial == "relativistic",
            )
            terms["generator/gan"] = c.adversarial_weight * scored
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure likeness: PSNR in dB, SSIM; sharpness, as a share of the true pictures'.

        With a judge also `looks`, the perceptual distance (`losses.perceptual.look_alike`).
        """
        found: dict[str, list[float]] = {"psnr": [], "ssim": [], "sharpness": []}
        if self._judge is not None:
            found["looks"] = []
        for batch in batches:
            fake = self.networks["generator"](batch.small).clamp(0, 1)
            for one, truth in zip(_arrays(fake), _arrays(batch.large), strict=True):
                found["psnr"].append(psnr(truth, one))
                found["ssim"].append(ssim(truth, one))
                found["sharpness"].append(sharpness(one) / max(sharpness(truth), 1e-6))
            if self._judge is not None:
                seen = self._judge(fake * 2 - 1), self._judge(batch.large * 2 - 1)
                found["looks"] += look_alike(*seen).tolist()
        return {name: float(np.mean(values)) for name, values in found.items()}

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: small (its pixels repeated), enlarged, true."""
        scale = float(self.config.scale)
        columns = [
            F.interpolate(batch.small, scale_factor=scale),
            self.networks["generator"](batch.small),
            batch.large,
        ]
        return torch.stack([x.clamp(0, 1) for x in columns], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the count of steps, which decides the stage, and the SHA-256 of the judge."""
        digest = torch.zeros(0, dtype=torch.uint8) if self._judge is None else self._judge.digest
        return {"step": torch.tensor(self._step), "judge": digest}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the count and the hash."""
        self._step = int(state["step"])
        if self._judge is not None:
            self._judge.digest = state["judge"]

    # --- use

    def channels(self, direction: Direction | None = None) -> int:
        """Return 3: `predict` takes colour pictures, and goes one way only."""
        if direction == "BtoA":
            raise ConfigError("this model makes small pictures large (AtoB) only")
        return 3

    @torch.no_grad()
    def predict(
        self, condition: Tensor, *, direction: Direction | None = None, seed: int = 0
    ) -> Tensor:
        """Enlarge pictures, tile by tile; the network sees as far beyond each as it needs.

        Args:
            condition: (B, 3, H, W) in [-1, 1], of any size; the network is on its device.
            direction: `AtoB`, if given.
            seed: unused; there is no noise.

        Returns:
            (B, 3, s·H, s·W) in [-1, 1].
        """
        if condition.shape[1] != self.channels(direction):
            raise ValueError(f"expected (B, 3, H, W), got {tuple(condition.shape)}")
        self.networks.eval()
        generator = self.networks["generator"]
        assert isinstance(generator, SRResNet | RRDBNet)
        s = self.config.scale
        height, width = condition.shape[2:]
        painted = condition.new_empty(len(condition), 3, s * height, s * width)
        rows, columns = (list(_tiles(side, generator.halo)) for side in (height, width))
        for (top, y, bottom, low), (left, x, right, far) in product(rows, columns):
            seen = pad_to_multiple(condition[..., top:low, left:far] / 2 + 0.5, 2, least=4)
            tile = generator(seen)[..., s * (y - top) : s * (bottom - top), :]
            tile = tile[..., s * (x - left) : s * (right - left)]
            painted[..., s * y : s * bottom, s * x : s * right] = tile
        return (painted * 2 - 1).clamp(-1, 1)


def _tiles(side: int, halo: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield where each tile is seen from, begins, ends, and is seen to."""
    halo += halo % 2  # tiles begin at even places, so that folding is the same in all
    for begin in range(0, side, _TILE):
        end = min(begin + _TILE, side)
        yield max(0, begin - halo), begin, end, min(side, end + halo)


def _two_parts(first: float) -> Schedule:
    """Keep the rate for half of each part of the run, then let it fall to 0."""
    decay = linear_decay(0.5)

    def factor(done: float) -> float:
        return decay(done / first) if done < first else decay((done - first) / (1 - first))

    return factor


def _arrays(x: Tensor) -> NDArray[np.float32]:
    return x.float().permute(0, 2, 3, 1).cpu().numpy()
