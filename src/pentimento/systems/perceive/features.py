"""Features: the small network whose eyes the perceptual losses borrow where there is no VGG.

Perceptual losses compare what a trained network sees (Johnson et al., ECCV 2016). The usual one,
VGG, learnt from ImageNet and cannot be bundled. This one learns from what can be had without
asking: for every pixel of a rendered portrait its part, its place on the head (UV) and its depth;
for any picture at all, what was done to it (noise, blur, JPEG, lost pixels, lost colour), which is
asked for as the difference that undoes it.

All levels answer through one linear layer each, so that none can leave the seeing to another.
After training `equalise` scales every channel to a mean of 1 over pictures (Gatys et al. 2016,
section 2): distances and Gram matrices then count channels alike.

Alphabet: B batch; S side; K = 19 classes. Pictures are in [-1, 1].

Train: `python recipes/features.py --data DATA --out runs/features`, or
`pentimento train features --data portraits,pictures:photos --out runs/features`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.faces import PICTURES, read_rgb, read_values, split_of
from pentimento.engine.schedules import linear_decay, warm_up
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.nn.features import FeatureNet

CLASSES: Final = len(CELEBAMASK19)
_ANSWERS: Final = (CLASSES, 2, 1, 3)  # parts, UV, depth, what undoes the harm


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The network and the course of training.

    Attributes:
        widths: channels at strides 1, 2, 4 and 8.
        size: S of the training crops.
        harmed: share of the pictures that are shown harmed.
        place_weight: of UV and depth, as mean absolute differences; parts weigh 1.
        undo_weight: of the mean absolute error of undoing.
        lr: Adam's learning rate, after a warm-up; it falls to 0 over the second half.
        batch_size: pictures per step and process.
        steps: length of a full run.
    """

    widths: tuple[int, ...] = (24, 40, 80, 104)
    size: int = 96
    harmed: float = 0.5
    place_weight: float = 4.0
    undo_weight: float = 8.0
    lr: float = 3e-3
    batch_size: int = 16
    steps: int = 1_000

    def __post_init__(self) -> None:
        """Refuse crops that the levels cannot halve."""
        multiple = 2 ** (len(self.widths) - 1)
        if self.size % multiple or self.size < 4 * multiple:
            raise ValueError(
                f"size must be a multiple of {multiple}, from {4 * multiple} on; got {self.size}"
            )


def compact() -> Config:
    """Return the network that is bundled."""
    return Config()


def tiny() -> Config:
    """Return a network for tests."""
    return Config(widths=(4, 6, 8), size=32, batch_size=2, steps=4)


PRESETS: Final = {"compact": compact, "tiny": tiny}


@plain_dataclass(frozen=True)
class Sample:
    """A picture, and what is known of its pixels.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        shown: the same, perhaps harmed.
        labels: (S, S) uint8, `IGNORE` where nothing is known.
        place: (S, S, 3) float32 U, V and depth, NaN where nothing is known.
    """

    image: NDArray[np.uint8]
    shown: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    place: NDArray[np.float32]


class Pictures:
    """Crops of pictures with the truths they come with; the engine's `Dataset` of `Sample`.

    Args:
        images: what to read.
        labels: of a picture, where there are some.
        maps: of a picture, where there are some: `uv`, `covered` and `depth`, as
            `pentimento world portraits` writes them.
        config: of the system.
        varied: cut squares of any size anywhere; else the middle ones.
    """

    def __init__(
        self,
        images: Sequence[Path],
        labels: Mapping[Path, Path],
        maps: Mapping[Path, Path],
        config: Config,
        *,
        varied: bool,
    ) -> None:
        self._images, self._labels, self._maps = images, labels, maps
        self._config, self._varied = config, varied

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._images)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return a crop of picture `index`; a share of them is shown harmed."""
        path = self._images[index]
        image = read_rgb(path)
        sides = np.array(image.shape[:2])
        labels = np.full(sides, IGNORE, np.uint8)
        if path in self._labels:
            labels = read_values(self._labels[path])
        place = np.full((*sides, 3), np.nan, np.float32)
        if path in self._maps:
            place = _place(self._maps[path])
        if not image.shape[:2] == labels.shape == place.shape[:2]:
            raise DataError(f"{path}: its labels or maps are of another size")
        side = int(sides.min() * (rng.uniform(0.35, 1.0) if self._varied else 1.0))
        top, left = rng.integers(0, sides - side + 1) if self._varied else (sides - side) // 2
        rows = top + ((np.arange(self._config.size) + 0.5) * side / self._config.size).astype(int)
        columns = rows - top + left
        cut = np.ascontiguousarray(image[top : top + side, left : left + side])
        shrinks = side > self._config.size
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        small = np.asarray(cv2.resize(cut, (self._config.size,) * 2, interpolation=how), np.uint8)
        shown = harm(small, rng) if rng.random() < self._config.harmed else small
        return Sample(small, shown, labels[rows][:, columns], place[rows][:, columns])


def harm(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture (S, S, 3) with noise, blurred, compressed, with lost pixels or colours."""
    strength = rng.uniform(0.1, 1.0)
    kind = rng.integers(5)
    if kind == 0:
        grain = rng.normal(0, 40 * strength, image.shape)
        return np.asarray((image + grain).clip(0, 255), np.uint8)
    if kind == 1:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.3 + 2.5 * strength), np.uint8)
    if kind == 2:
        quality = round(60 - 55 * strength)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    if kind == 3:
        lost = rng.random(image.shape[:2]) < 0.5 * strength
        return np.where(lost[..., None], rng.integers(0, 256, 3), image).astype(np.uint8)
    grey = image.mean(2, keepdims=True)
    return np.asarray(image + strength * (grey - image), np.uint8)


def _place(path: Path) -> NDArray[np.float32]:
    """Return U, V and depth, the last from the head's middle; NaN where the head is not seen."""
    try:
        with np.load(path, allow_pickle=False) as maps:
            uv, covered, depth = maps["uv"], maps["covered"], maps["depth"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: no maps of a rendered portrait ({error})") from None
    middle = np.median(depth[covered]) if covered.any() else 0.0
    place = np.dstack([uv.astype(np.float32), depth - middle])
    return np.where(covered[..., None], place, np.nan).astype(np.float32)


def open_data(spec: str, split: Split, config: Config) -> Dataset[Sample]:
    """Open pictures.

    Args:
        spec: sources joined by commas: folders as `pentimento world portraits` writes them
            (`images/`, perhaps `labels/` and `maps/`), or `pictures:DIR`, all below DIR.
        split: about a tenth, by the hash of their names, is for validation.
        config: of the system.

    Raises:
        DataError: a source has no pictures for this split.
    """
    images: list[Path] = []
    beside: dict[str, dict[Path, Path]] = {"labels": {}, "maps": {}}
    for part in filter(None, (part.strip() for part in spec.split(","))):
        folder = Path(part.removeprefix("pictures:")).expanduser()
        labelled = not part.startswith("pictures:")
        below = folder / "images" if labelled else folder
        found = [p for p in sorted(below.rglob("*")) if p.suffix.lower() in PICTURES]
        found = [p for p in found if split_of(p.stem) == split]
        if not found:
            raise DataError(
                f"{part}: no pictures for {split} there; expected a folder with images/, or "
                "pictures:DIR"
            )
        images += found
        for kind, ending in (("labels", "png"), ("maps", "npz")) if labelled else ():
            files = {p: folder / kind / f"{p.stem}.{ending}" for p in found}
            beside[kind] |= {p: file for p, file in files.items() if file.is_file()}
    return Pictures(images, beside["labels"], beside["maps"], config, varied=split == "train")


# --- networks -------------------------------------------------------------------------------------


@plain_dataclass(frozen=True)
class Batch:
    """Pictures and what is known of them.

    Attributes:
        image: (B, 3, S, S) in [-1, 1].
        shown: the same, some of them harmed.
        labels: (B, S, S) int64, `IGNORE` where unknown.
        place: (B, 3, S, S) U, V, depth in dm; 0 where unknown.
        placed: (B, 1, S, S), 1 where `place` is known.
    """

    image: Tensor
    shown: Tensor
    labels: Tensor
    place: Tensor
    placed: Tensor


class Answers(nn.Module):
    """One linear layer per level, their sum at full size, and the answers from it."""

    def __init__(self, widths: Sequence[int], hidden: int = 32) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(width, hidden, 1) for width in widths)
        self.last = nn.Conv2d(hidden, sum(_ANSWERS), 3, padding=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return (B, K + 2 + 1 + 3, S, S) of features, fine to coarse."""
        size = features[0].shape[-2:]
        seen = [
            F.interpolate(level(x), size, mode="bilinear") if n else level(x)
            for n, (level, x) in enumerate(zip(self.levels, features, strict=True))
        ]
        answers: Tensor = self.last(F.relu(torch.stack(seen).sum(0)))
        return answers


# --- the system -----------------------------------------------------------------------------------


class Features:
    """The feature network, what it is asked in training, and its evening out.

    Args:
        config: see `Config`.
    """

    def __init__(self, config: Config) -> None:
        c = self.config = config
        self.networks = nn.ModuleDict(
            {"features": FeatureNet(c.widths), "answers": Answers(c.widths)}
        )
        for conv in self.networks["features"].modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_normal_(conv.weight)
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # there is one
        schedule = warm_up(0.05, linear_decay(0.5))
        networks = ("features", "answers")
        spec = OptimizerSpec(networks, c.lr, schedule=schedule)
        self.optimizers: Mapping[str, OptimizerSpec] = {"features": spec}
        self.averaged: tuple[str, ...] = networks
        self.batch_size, self.steps = c.batch_size, c.steps
        self.score: tuple[str, Literal["max", "min"]] = ("parts", "max")

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack pictures and truths."""

        def pictures(images: Sequence[NDArray[np.uint8]]) -> Tensor:
            return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1

        place = torch.from_numpy(np.stack([s.place for s in samples])).permute(0, 3, 1, 2)
        return Batch(
            pictures([s.image for s in samples]),
            pictures([s.shown for s in samples]),
            torch.from_numpy(np.stack([s.labels for s in samples])).long(),
            place.nan_to_num(),
            place[:, :1].isfinite().float(),
        )

    def _answers(self, shown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of parts, places, and the picture undone."""
        answers = self.networks["answers"](self.networks["features"](shown))
        parts, uv, depth, undo = answers.split(_ANSWERS, 1)
        return parts, torch.cat([uv, depth], 1), shown + undo

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Ask everything of every picture; what is unknown does not count."""
        terms = self._terms(batch)
        update("features", terms)
        return terms

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        c = self.config
        parts, place, undone = self._answers(batch.shown)
        known = (batch.labels != IGNORE).sum().clamp(min=1)
        crossed = F.cross_entropy(parts, batch.labels, ignore_index=IGNORE, reduction="sum")
        missed = ((place - batch.place).abs() * batch.placed).mean((0, 2, 3)).sum()
        return {
            "parts": crossed / known,
            "place": c.place_weight * missed / batch.placed.mean().clamp(min=1e-3),
            "undo": c.undo_weight * F.l1_loss(undone, batch.image),
        }

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure the answers.

        `parts`: share of known pixels whose part is right. `undone`: share of the harm, as mean
        absolute difference, that is undone; below 0 it is made worse.
        """
        right = known = 0.0
        before = after = 1e-6
        for batch in batches:
            parts, _, undone = self._answers(batch.shown)
            mask = batch.labels != IGNORE
            right += float((parts.argmax(1) == batch.labels)[mask].sum())
            known += float(mask.sum())
            before += float((batch.shown - batch.image).abs().sum())
            after += float((undone - batch.image).abs().sum())
        return {"parts": right / max(known, 1.0), "undone": 1 - after / before}

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: as shown, undone, its parts as levels of grey, its places as colours."""
        parts, place, undone = self._answers(batch.shown)
        grey = parts.argmax(1, keepdim=True).expand(-1, 3, -1, -1) / (CLASSES - 1)
        columns = [batch.shown / 2 + 0.5, undone / 2 + 0.5, grey, place]
        return torch.stack([column.clamp(0, 1) for column in columns], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return nothing: all state is in the networks."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take nothing back."""

    @torch.no_grad()
    def equalise(self, pictures: Iterable[Tensor]) -> None:
        """Scale every channel of every level to a mean of 1 over pictures.

        What the network computes stays the same but for these factors: the next layer takes them
        back. A channel that is nowhere above 0 stays as it is. The answers are not for use after.

        Args:
            pictures: batches (B, 3, H, W) in [-1, 1], on the network's device.
        """
        net = self.networks["features"].eval()
        assert isinstance(net, FeatureNet)
        sums: list[Tensor] = []
        count = 0
        for batch in pictures:
            means = [x.mean((0, 2, 3)) for x in net(batch)]
            sums = [a + b for a, b in zip(sums, means, strict=True)] if sums else means
            count += 1
        taken: Tensor | None = None
        for convs, total in zip(net.levels, sums, strict=True):
            mean = total / count
            factor = torch.where(mean > 1e-4, mean, torch.ones_like(mean))
            assert isinstance(convs, nn.ModuleList)
            first, second = convs
            assert isinstance(first, nn.Conv2d)
            assert isinstance(second, nn.Conv2d)
            assert second.bias is not None
            if taken is not None:
                first.weight.mul_(taken[:, None, None])
            second.weight.div_(factor[:, None, None, None])
            second.bias.div_(factor)
            taken = factor
