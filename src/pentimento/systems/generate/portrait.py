"""Mask-Guided Portrait Editing: change a face by its mask, or take parts from another face.

Paper: Gu, Bao, Yang, Chen, Wen, Yuan, *Mask-Guided Portrait Editing with Conditional GANs*, CVPR
2019. Every part of a face has a code of its own; a generator paints the parts where the target's
mask wants them and fuses the target's background. Paired steps repaint a face from its own codes,
unpaired ones from codes permuted in the batch: there a critic and a frozen parser are all that can
tell right from wrong.

`paper()` is the official network with the official numbers (nn/mgpe.py, equal to the recorded
fixtures). `compact()` (nn/textures.py) learns from a few thousand faces on a CPU:

Differs (compact): a code is not a vector of 512 numbers but the part's own texture, in a canonical
    frame, spread smoothly over what the mask hides, with a map of what is known. Textures are
    laid into the target's mask, and one U-Net repaints that canvas: it mends seams, moves detail
    to the outlines of the mask and invents what no texture shows.
Differs (compact): paired steps take the codes from a randomly bent copy of the face in which
    pieces and whole parts are hidden, so that the truth of an edit is known; critics and unpaired
    steps begin at `adversarial_from`.
Differs: a part that is absent or at the border is no error; any batch size is good (unpaired terms
    need two faces); permutations are drawn per part; the parser never trains and must be given.
Differs: on unpaired turns D rests; the official Adam moves it by momentum under a zero loss.

Alphabet: B batch; S side; K classes; pictures RGB in [-1, 1]; label maps (B, S, S) int64.

    pentimento train portrait --data world --preset compact --out runs/portrait
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.augment import mirror
from pentimento.data.faces import Faces, FaceSample, open_faces
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.errors import MaskError
from pentimento.labels import CELEBAMASK19, IGNORE, LABEL_SETS, remap_table
from pentimento.losses.adversarial import cross_entropy, feature_matching
from pentimento.losses.perceptual import LEVEL_WEIGHTS, Judge, check_judge, feature_distance
from pentimento.metrics.images import psnr, ssim
from pentimento.metrics.segmentation import Confusion
from pentimento.nn.critic import MultiscaleCritic
from pentimento.nn.mgpe import (
    PARTS,
    Codes,
    Layout,
    PartCodes,
    Vectors,
    crops,
    divergence,
    draw,
    lay_out,
    official_init,
    one_hot,
    outside,
    part_masks,
    permute,
    roll,
)
from pentimento.nn.textures import Textures
from pentimento.ops.bend import bend, forget, hide, wish
from pentimento.structures import LabelMap
from pentimento.systems.frozen_parser import FrozenParser

PARTS_OF_REGION: Final[dict[str, tuple[str, ...]]] = {
    "skin": ("skin",), "nose": ("skin",), "brows": ("skin",), "left_brow": ("skin",),
    "right_brow": ("skin",), "ears": ("skin",), "eyes": ("left_eye", "right_eye"),
    "left_eye": ("left_eye",), "right_eye": ("right_eye",), "mouth": ("mouth",),
    "lips": ("mouth",), "hair": ("hair",), "glasses": (), "hat": (), "neck": (), "clothes": (),
}  # fmt: skip
"""Region of `labels.REGIONS` → parts whose codes paint it; none: it comes from the picture."""

# What an edit uncovers or opens, and no texture of the face may show.
_FORGETTABLE: Final = (("mouth",), ("l_ear", "r_ear"))
_MOVABLE: Final = (
    "l_brow", "r_brow", "l_eye", "r_eye", "nose", "mouth", "u_lip", "l_lip",
)  # fmt: skip

# Internal constants of the official loss: importance of the parts, and of the whole picture.
_IMPORTANCE: Final = {"right_eye": 10.0, "left_eye": 10.0, "skin": 5.0, "hair": 5.0, "mouth": 10.0}
_WHOLE: Final = 10.0
# A canvas is right nearly everywhere. Plain L1 then punishes every first attempt at the rest: the
# loss stands still. Below this difference the distance is quadratic.
_CLOSE: Final = 0.1
_PICTURE: Final = 2.0  # a loop repeats the batch's mean for each of its two faces
_PART: Final = 10.0
_PERCEPTUAL: Final = 30.0
_PARSE: Final = 10.0
_FEATURE: Final = 10.0 * 0.5  # weight, and mean over two scales


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        family: the paper's networks with vector codes, or textures and one painter.
        size: S, a power of two; `paper` needs 128 or 256.
        labels: label set used inside; masks of either set are understood.
        width: channels at full resolution (`paper`) or at a quarter of it (`textures`).
        code: length of the code vectors (`paper`).
        enlarge: factor by which eyes and mouth are enlarged in the guiding mask (`paper`).
        critic_width: channels of the critics' first layer.
        pixel: distance of pixels: L2 as in the paper, or linear for large differences.
        parser: the frozen judge of masks: `bundled`, a folder of a face-parsing model,
            `unet:FILE` (safetensors of the paper's P), or `none` to train without one.
        perceptual: whose features are compared: `features` (bundled), `vgg19:FILE`, `parser` or
            `none`.
        w_adversarial: weight of both generator GAN terms.
        w_feature: of critic features on paired steps, on top of the official 10 × 0.5.
        w_perceptual: of the perceptual term, on top of the official 30.
        w_picture: of the reconstruction.
        w_part: of the local reconstructions (`paper`), on top of the official 10.
        w_parse: of the parser's cross-entropy, on top of the official 10.
        wishes: unpaired steps follow masks as people edit them (`ops.bend.wish`), with own codes
            but for borrowed hair; else own masks with permuted codes, as in the paper.
        alternate: paired terms on every second step only.
        bend: share of paired faces whose codes come from a bent copy.
        forget: chance of each part of a bent copy to be hidden as a whole (`ops.bend.forget`).
        adversarial_from: share of the run after which critics and unpaired steps begin.
        mirrored: whether training faces are mirrored at random.
        averaged: whether an average of the generator's weights is kept and shipped.
        batch_size: faces per step and process.
        steps: length of a full run.
        lr: Adam's learning rate; constant for `constant` of the run, then linear to 0.
        critic_lr: of both critics.
        betas: Adam's running-average coefficients.
        constant: share of the run before the learning rate falls.
    """

    family: Literal["paper", "textures"]
    size: int = 256
    labels: Literal["helen11", "celebamask19"] = "celebamask19"
    width: int = 64
    code: int = 512
    enlarge: float = 1.0
    critic_width: int = 24
    pixel: Literal["huber", "l2"] = "huber"
    parser: str = "bundled"
    perceptual: str = "none"
    w_adversarial: float = 1.0
    w_feature: float = 1.0
    w_perceptual: float = 1.0
    w_picture: float = 1.0
    w_part: float = 0.0
    w_parse: float = 0.1
    wishes: bool = False
    alternate: bool = False
    bend: float = 0.75
    forget: float = 0.25
    adversarial_from: float = 0.75
    mirrored: bool = True
    averaged: bool = True
    batch_size: int = 4
    steps: int = 3_000
    lr: float = 1e-3
    critic_lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.99)
    constant: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        least = 128 if self.family == "paper" else 32
        if self.size & (self.size - 1) or not least <= self.size <= 256 * (1 + (least == 32)):
            raise ValueError(f"size must be a power of two from {least}, got {self.size}")
        if self.width < 1 or self.critic_width < 1 or self.code < 1 or self.enlarge < 1:
            raise ValueError("width, critic_width, code and enlarge must be at least 1")
        if self.w_part and self.family != "paper":
            raise ValueError("w_part: textures are stored, not decoded; only `paper` has the term")
        if self.wishes and self.family == "paper":
            raise ValueError(
                "wishes: the paper permutes codes; only `textures` follow edited masks"
            )
        if self.perceptual not in ("parser", "none"):
            check_judge(self.perceptual)
        shares = (self.bend, self.forget, self.adversarial_from)
        if not (all(0 <= share <= 1 for share in shares) and 0 <= self.constant < 1):
            raise ValueError("bend, forget, adversarial_from and constant are shares from 0 to 1")
        if self.batch_size < 1 or self.steps < 1 or min(self.lr, self.critic_lr) <= 0:
            raise ValueError("batch_size, steps and learning rates must be positive")


def paper() -> Config:
    """Return the official model: 192,854,158 parameters with P, 55 epochs of 20,000 faces.

    The official run has two processes with two faces each.
    """
    return Config(
        family="paper", labels="helen11", enlarge=1.1, critic_width=64, pixel="l2",
        perceptual="vgg19:vgg19.safetensors", w_picture=2.0, w_part=500.0, w_parse=10.0,
        alternate=True, bend=0.0, adversarial_from=0.0, mirrored=False, averaged=False,
        batch_size=2, steps=275_000, lr=2e-4, betas=(0.5, 0.999), constant=10 / 55,
    )  # fmt: skip


def compact() -> Config:
    """Return the model that is bundled."""
    return Config(family="textures")


def tiny() -> Config:
    """Return a model for tests: seconds on one core, no parser."""
    return Config(
        family="textures", size=64, width=16, critic_width=8, parser="none", w_parse=0.0,
        adversarial_from=0.5, batch_size=2, steps=60, lr=2e-3,
    )  # fmt: skip


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper}


@plain_dataclass(frozen=True)
class Batch:
    """Faces of one step.

    Attributes:
        image: (B, 3, S, S) in [-1, 1].
        labels: (B, S, S) int64 in the configured label set, `IGNORE` where unknown.
    """

    image: Tensor
    labels: Tensor


# ---- data


class _Mirrored:
    """Faces, mirrored half of the time."""

    def __init__(self, faces: Faces) -> None:
        self._faces = faces

    def __len__(self) -> int:
        return len(self._faces)

    def sample(self, index: int, rng: np.random.Generator) -> FaceSample:
        face = self._faces.sample(index, rng)
        return mirror(face) if rng.random() < 0.5 else face


def open_data(spec: str, split: Split, config: Config) -> Dataset[FaceSample]:
    """Open faces (see `data/faces.py`), mirrored for training if the configuration says so."""
    faces = open_faces(spec, split, config.size)
    return _Mirrored(faces) if split == "train" and config.mirrored else faces


# ---- the system


class Portrait:
    """Networks, losses and order of updates; then the tool: `encode` once, `repaint` often."""

    def __init__(self, config: Config) -> None:
        self.config = c = config
        self.names = LABEL_SETS[c.labels]
        self.family: Vectors | Textures
        if c.family == "paper":
            self.family = Vectors(self.names, c.size, c.width, c.code, c.enlarge)
        else:
            self.family = Textures(self.names, c.size, c.width)
        painters = self.family.networks()
        seen = len(self.names) + 3
        critics = {
            name: MultiscaleCritic(seen, c.critic_width, norm=self._critic_norm)
            for name in ("critic_paired", "critic_unpaired")
        }
        self.networks = nn.ModuleDict({**painters, **critics})
        if c.family == "paper":
            self.networks.apply(official_init)
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "generator": OptimizerSpec(tuple(painters), c.lr, c.betas, schedule=self._schedule),
            **{
                name: OptimizerSpec((name,), c.critic_lr, c.betas, schedule=self._schedule)
                for name in critics
            },
        }
        self.averaged: tuple[str, ...] = tuple(painters) if c.averaged else ()
        self.batch_size = c.batch_size
        self.steps = c.steps
        self.score: tuple[str, Literal["max", "min"]] = ("edit_psnr", "max")
        self._turn = 0
        self._judges: dict[str, Any] = {}
        asked = c.perceptual not in ("parser", "none")
        self._looks = Judge(c.perceptual, imagenet=False) if asked else None

    def _critic_norm(self, channels: int) -> nn.Module:
        paper = self.config.family == "paper"
        return nn.BatchNorm2d(channels) if paper else nn.GroupNorm(4, channels)

    def _schedule(self, done: float) -> float:
        return min(1.0, (1 - done) / (1 - self.config.constant))

    def collate(self, samples: Sequence[FaceSample]) -> Batch:
        """Stack samples and give their labels the configured names."""
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        table = remap_table(CELEBAMASK19, self.names)
        labels = torch.from_numpy(np.stack([table[s.labels] for s in samples]))
        return Batch(image.contiguous().float() / 127.5 - 1, labels.long())

    # -- training

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """One turn: the generator on paired and unpaired terms, then each critic that had a say."""
        c, turn = self.config, self._turn
        self._turn += 1
        if c.parser != "none":
            self._parser()  # a missing judge is told at once, not half-way through the run
        adversarial = turn >= c.adversarial_from * c.steps
        paired = turn % 2 == 0 or not c.alternate
        unpaired = adversarial and len(batch.image) > 1

        layout = lay_out(known(batch.labels), self.names, c.enlarge)
        source, source_labels, background = self._source(batch)
        codes = draw(self.family.encode(self.networks, source, source_labels))
        terms: dict[str, Tensor] = {}
        if c.w_part:
            terms["part"] = c.w_part * self._local(codes, source, source_labels)
        if paired:
            fake = self._paint(codes, batch, background)
            terms |= self._paired_terms(fake, batch, layout, adversarial)
        if unpaired:
            swapped, asked = self._unseen(codes, batch, background)
            guide = lay_out(known(asked.labels), self.names, c.enlarge) if c.wishes else layout
            terms |= self._unpaired_terms(swapped, asked, guide)
        if terms:
            update("generator", terms)

        if paired and adversarial and c.w_adversarial:
            terms |= self._judge("critic_paired", fake, layout, batch, layout, update)
        if unpaired and c.w_adversarial:
            terms |= self._judge("critic_unpaired", swapped, guide, batch, layout, update)
        if c.family == "paper":  # the official code logs the divergence and never optimises it
            terms["kl"] = divergence(codes).detach()
        return terms

    def _source(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the codes are taken from, its labels, and where the background is known."""
        b, side = len(batch.image), self.config.size
        everywhere = batch.image.new_ones(b, 1, side, side)
        if not self.config.bend:
            return batch.image, batch.labels, everywhere
        device = batch.image.device
        chosen = torch.rand(b, 1, 1, device=device) < self.config.bend
        image, labels = bend(batch.image, batch.labels)
        parts = [self.names.values(*set(g) & set(self.names.classes)) for g in _FORGETTABLE]
        hidden = hide(b, side, device) | forget(labels, parts, self.config.forget)
        labels = labels.where(~hidden, IGNORE)
        everywhere = everywhere * ~(hide(b, side, device) & chosen)[:, None]
        return (
            torch.where(chosen[:, None], image, batch.image),
            torch.where(chosen, labels, batch.labels),
            everywhere,
        )

    def _paint(self, codes: PartCodes, batch: Batch, background: Tensor) -> Tensor:
        return self.family.paint(self.networks, codes, known(batch.labels), batch.image, background)

    def _unseen(self, codes: PartCodes, batch: Batch, background: Tensor) -> tuple[Tensor, Batch]:
        """Return faces that no picture shows, and the batch whose masks ask for them."""
        if not self.config.wishes:
            return self._paint(permute(codes), batch, background), batch
        skin, hair, *parts = self.names.values("skin", "hair", *_MOVABLE)
        labels, borrowed = wish(batch.labels, parts, skin, hair)
        own = self.family.encode(self.networks, batch.image, batch.labels)
        own["hair"] = {
            name: code.roll(-1, 0).where(borrowed[:, None, None, None], code)
            for name, code in own["hair"].items()
        }
        asked = replace(batch, labels=labels)
        return self._paint(own, asked, outside(known(batch.labels), self.names)), asked

    def _paired_terms(
        self, fake: Tensor, batch: Batch, layout: Layout, adversarial: bool
    ) -> dict[str, Tensor]:
        c, real = self.config, batch.image
        # (B, 5, S, S): the parts' masks times their importance.
        parts = torch.cat([_IMPORTANCE[name] * mask for name, mask in layout.masks.items()], 1)
        where = _WHOLE + parts.sum(1, keepdim=True)
        loss = F.mse_loss if c.pixel == "l2" else partial(F.smooth_l1_loss, beta=_CLOSE)
        gap = loss(fake, real, reduction="none")
        terms = {"picture": c.w_picture * _PICTURE * (where * gap).mean()}
        if c.perceptual != "none" and c.w_perceptual:
            features = self._looks or self._parser().features
            seen, wanted = features(fake), features(real)
            weights = LEVEL_WEIGHTS if len(seen) == len(LEVEL_WEIGHTS) else (1 / 4,) * len(seen)
            distance = feature_distance(seen, wanted, weights, parts)
            terms["perceptual"] = c.w_perceptual * _PERCEPTUAL * distance
        if adversarial and c.w_adversarial:
            critic = self.networks["critic_paired"]
            guide = one_hot(layout.labels, len(self.names))
            judged = critic(torch.cat([guide, fake], 1))
            scores = [s[-1] for s in judged]
            terms["adversarial"] = c.w_adversarial * cross_entropy(scores, real=True)
            if c.w_feature:
                with torch.no_grad():
                    wanted = critic(torch.cat([guide, real], 1))
                matched = feature_matching([s[-2] for s in judged], [s[-2] for s in wanted])
                terms["feature"] = c.w_feature * _FEATURE * matched
        return terms

    def _unpaired_terms(self, fake: Tensor, batch: Batch, layout: Layout) -> dict[str, Tensor]:
        c, terms = self.config, {}
        if c.w_adversarial:
            guide = one_hot(layout.labels, len(self.names))
            judged = self.networks["critic_unpaired"](torch.cat([guide, fake], 1))
            scores = [s[-1] for s in judged]
            terms["adversarial_unpaired"] = c.w_adversarial * cross_entropy(scores, real=True)
        if c.w_parse and c.parser != "none":
            terms["parse"] = c.w_parse * _PARSE * self._parser().loss(fake, batch.labels)
        return terms

    def _local(self, codes: PartCodes, source: Tensor, labels: Tensor) -> Tensor:
        """Sum of the parts' squared errors when each is decoded from its code alone."""
        layout = lay_out(known(labels), self.names, self.config.enlarge)
        wanted, masks = crops(source, layout), part_masks(layout)
        made = self.networks["picture_decoders"]({part: codes[part]["code"] for part in PARTS})
        errors = [F.mse_loss(made[part] * masks[part], wanted[part]) for part in PARTS]
        return _PART * torch.stack(errors).sum()

    def _judge(
        self, name: str, fake: Tensor, asked: Layout, batch: Batch, layout: Layout, update: Update
    ) -> dict[str, Tensor]:
        """Let one critic learn to tell this fake from the truth, each with its own mask."""
        terms = {}
        seen = (("real", batch.image, layout), ("fake", fake.detach(), asked))
        for kind, picture, about in seen:
            guide = one_hot(about.labels, len(self.names))
            scores = [s[-1] for s in self.networks[name](torch.cat([guide, picture], 1))]
            terms[f"{name}_{kind}"] = 0.5 * cross_entropy(scores, real=kind == "real")
        update(name, terms)
        return terms

    def _parser(self) -> FrozenParser:
        if "parser" not in self._judges:
            self._judges["parser"] = FrozenParser(self.config.parser, self.names)
        parser: FrozenParser = self._judges["parser"]
        return parser

    # -- measuring

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure repainting from own codes, from bent codes, and with another face's codes.

        Returns:
            `psnr` and `ssim` of the reconstruction; `edit_psnr` of repainting from codes of a
            bent copy, the same bends in every run; with a parser, `swap_miou` between the mask and
            the parse of the face painted with the next face's parts.
        """
        judged = self.config.parser != "none"
        found: dict[str, list[float]] = {"psnr": [], "ssim": [], "edit_psnr": []}
        confusion = Confusion(self.names)
        with torch.no_grad():
            for number, batch in enumerate(batches):
                everywhere = torch.ones_like(batch.image[:, :1])
                chance = torch.Generator(batch.image.device).manual_seed(number)
                codes = self.family.encode(self.networks, batch.image, batch.labels)
                bent = self.family.encode(self.networks, *bend(batch.image, batch.labels, chance))
                truth = _bytes(batch.image)
                own = list(zip(truth, _bytes(self._paint(codes, batch, everywhere)), strict=True))
                edit = zip(truth, _bytes(self._paint(bent, batch, everywhere)), strict=True)
                found["psnr"] += [min(psnr(a, b), 60.0) for a, b in own]
                found["ssim"] += [ssim(a, b) for a, b in own]
                found["edit_psnr"] += [min(psnr(a, b), 60.0) for a, b in edit]
                if judged and len(batch.image) > 1:
                    swapped = self._paint(roll(codes), batch, everywhere)
                    parse = self._parser().logits(swapped).argmax(1)
                    confusion.add(_values(batch.labels), _values(parse))
        measured = {name: float(np.mean(values)) for name, values in found.items()}
        return measured | ({"swap_miou": confusion.mean_iou()} if judged else {})

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of face, mask, reconstruction, bent codes, and the next face's parts."""
        with torch.no_grad():
            everywhere = torch.ones_like(batch.image[:, :1])
            chance = torch.Generator(batch.image.device).manual_seed(0)
            codes = self.family.encode(self.networks, batch.image, batch.labels)
            bent = self.family.encode(self.networks, *bend(batch.image, batch.labels, chance))
            painted = [self._paint(own, batch, everywhere) for own in (codes, bent, roll(codes))]
        palette = batch.image.new_ones((256, 3))
        palette[: len(self.names)] = palette.new_tensor(self.names.colours) / 255
        mask = palette[batch.labels].movedim(-1, 1)
        faces = [(x.clamp(-1, 1) + 1) / 2 for x in (batch.image, *painted)]
        return torch.stack([faces[0], mask, *faces[1:]], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the count of turns, which decides what a turn trains, and the judge's SHA-256."""
        digest = torch.zeros(0, dtype=torch.uint8) if self._looks is None else self._looks.digest
        return {"turn": torch.tensor(self._turn), "judge": digest}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take both back."""
        self._turn = int(state["turn"])
        if self._looks is not None:
            self._looks.digest = state["judge"]

    # -- using

    def encode(self, image: NDArray[np.uint8], labels: LabelMap) -> Codes:
        """Take the codes of all parts out of an aligned face.

        Args:
            image: (S, S, 3) uint8 RGB, S being `config.size`.
            labels: of the same size, in any label set.

        Raises:
            MaskError: the sizes do not fit the model.
        """
        with self._using():
            return Codes(self.family.encode(self.networks, self._picture(image), self._map(labels)))

    def repaint(
        self,
        codes: Codes,
        labels: LabelMap,
        background: NDArray[np.uint8],
        background_labels: LabelMap | None = None,
    ) -> NDArray[np.uint8]:
        """Paint a face from codes where a mask wants it.

        Args:
            codes: of `encode`, possibly mixed.
            labels: (S, S) the mask to follow; what no part covers is taken from `background`.
            background: (S, S, 3) uint8, the target picture.
            background_labels: the picture's own mask where it is not `labels`: what it shows of
                the parts is not used as background where the new mask uncovers it.

        Returns:
            (S, S, 3) uint8; the same bytes for the same input.
        """
        with self._using():
            picture, wanted = self._picture(background), known(self._map(labels))
            own = wanted if background_labels is None else known(self._map(background_labels))
            usable = outside(own, self.names)
            painted = self.family.paint(self.networks, codes.parts, wanted, picture, usable)
            return _bytes(painted)[0]

    @contextmanager
    def _using(self) -> Iterator[None]:
        training = self.networks.training
        self.networks.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.networks.train(training)

    def _picture(self, image: NDArray[np.uint8]) -> Tensor:
        side = self.config.size
        if image.shape != (side, side, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"expected a ({side}, {side}, 3) uint8 face, got {image.shape} {image.dtype}"
            )
        x = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        return x.movedim(-1, 0)[None].float() / 127.5 - 1

    def _map(self, labels: LabelMap) -> Tensor:
        side = self.config.size
        if labels.values.shape != (side, side):
            raise MaskError(
                f"the mask is {labels.values.shape}, the model paints {side} × {side}: resize the "
                "mask with the picture, by nearest neighbour"
            )
        return torch.from_numpy(labels.remap(self.names).values)[None].long().to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.networks.parameters()).device


def known(labels: Tensor) -> Tensor:
    """Return labels in which unknown pixels are background."""
    return labels.where(labels != IGNORE, 0)


def _bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """(B, 3, S, S) in [-1, 1] → (B, S, S, 3) uint8."""
    return _values(((pictures + 1) * 127.5).round().clamp(0, 255).movedim(1, -1).contiguous())


def _values(tensor: Tensor) -> NDArray[np.uint8]:
    return np.asarray(tensor.to(torch.uint8).cpu().numpy())
