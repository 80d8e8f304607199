"""pix2pixHD: large pictures from label maps, coarse to fine (Wang et al., CVPR 2018).

Implemented: the global generator and the local enhancer with their two stages; instance borders;
the encoder whose features are averaged over each instance, and their clusters per class, from which
new styles are drawn; critics at three scales; feature matching; the perceptual loss.

Differs:
- Both stages are one run; the official code starts twice. Adam's averages live on between them.
- The critics of stage one are the coarser ones of stage two, at the same resolutions.
- The learning rate falls with every step of a stage's second half, not with every epoch.
- In stage two the encoder goes on learning with the enhancer; officially its features are fixed.
- Where there is no file of VGG-19, the bundled feature network may judge; `perceptual` says which.
- Pictures are squeezed to `size`, not scaled by width.
- Classes whose instances are all small have styles, too.

Alphabet: B batch; K classes; C feature channels; H, W size. Pictures are in [-1, 1]; label maps are
one plane of 0 and 1 per class, all 0 where the class is unknown.

Train: `pentimento train pix2pixhd --data world --preset compact --out runs/hd`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.labelled import (
    LabelledFaces,
    LabelledFiles,
    LabelledSample,
    open_labelled,
)
from pentimento.engine.schedules import Schedule, linear_decay
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.errors import ConfigError
from pentimento.losses.adversarial import feature_matching, least_squares
from pentimento.losses.perceptual import Judge, check_judge
from pentimento.metrics.perceptual import Likeness
from pentimento.nn.critic import MultiscaleCritic
from pentimento.nn.norm import draw_weights, instance_norm
from pentimento.nn.resnet_generator import ResNetGenerator, output_layers
from pentimento.ops.instances import instance_edges, pool_instances
from pentimento.ops.pad import pad_to_multiple
from pentimento.systems.generate.pix2pix import Direction, arrays, as_colours

VGG_WEIGHTS: Final = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Of relu1_1 … relu5_1."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The networks and the course of training.

    Attributes:
        classes: K.
        size: H and W of the finished pictures; stage one paints half of it.
        edges: show the borders between instances.
        features: C of the instance encoder; 0 leaves it out.
        clusters: styles per class that are kept for drawing.
        enhance: train the local enhancer in a second stage; without, stage one paints `size`.
        width: channels of the enhancer's first layer; the global generator's has twice as many.
        downs: halvings of the global generator.
        blocks: residual blocks of the global generator.
        local_blocks: residual blocks of the enhancer.
        encoder_width: channels of the encoder's first layer; it halves `downs` times, too.
        critic_width: channels of the critics' first layer.
        critic_layers: strided layers of each critic.
        scales: critics; one less without the enhancer's resolution.
        feature_weight: of feature matching.
        perceptual: whose features are compared: `features` (bundled), `vgg19:FILE` or `none`.
        perceptual_weight: of the perceptual loss.
        lr: Adam's learning rate; its β1 is 0.5.
        batch_size: 1 in the paper.
        steps: both stages together; 200 and 100 epochs of the 2975 Cityscapes in the paper.
        first_stage: share of `steps` that belongs to stage one.
        hold: share of stage two in which the global generator is held still.
    """

    classes: int = 35
    size: tuple[int, int] = (1024, 2048)
    edges: bool = True
    features: int = 0
    clusters: int = 10
    enhance: bool = True
    width: int = 32
    downs: int = 4
    blocks: int = 9
    local_blocks: int = 3
    encoder_width: int = 16
    critic_width: int = 64
    critic_layers: int = 3
    scales: int = 3
    feature_weight: float = 10.0
    perceptual: str = "none"
    perceptual_weight: float = 10.0
    lr: float = 2e-4
    batch_size: int = 1
    steps: int = 892_500
    first_stage: float = 2 / 3
    hold: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved so often, and shares that are none."""
        multiple = 2 ** (self.downs + self.enhance)
        if any(side % multiple or side < 2 * multiple for side in self.size):
            raise ValueError(
                f"both sides of size must be multiples of {multiple}, from {2 * multiple} on; "
                f"got {self.size}"
            )
        if not (0 < self.first_stage < 1 and 0 <= self.hold < 1):
            raise ValueError("first_stage and hold are shares between 0 and 1")
        if self.scales < 1 + self.enhance:
            raise ValueError(f"scales must be at least {1 + self.enhance}, got {self.scales}")
        if self.perceptual != "none":
            check_judge(self.perceptual)


def paper() -> Config:
    """Return the official numbers for Cityscapes: 2048 × 1024, instance features, VGG-19.

    The file `vgg19.safetensors` must lie in the working folder.
    """
    return Config(features=3, perceptual="vgg19:vgg19.safetensors")


def compact() -> Config:
    """Return a model for faces of 256 pixels with 19 parts."""
    return Config(
        classes=19, size=(256, 256), features=3, width=16, downs=3, blocks=6, encoder_width=8,
        critic_width=32, batch_size=2, steps=60_000,
    )  # fmt: skip


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        classes=19, size=(64, 32), features=2, clusters=2, width=2, downs=2, blocks=1,
        local_blocks=1, encoder_width=4, critic_width=4, critic_layers=2, batch_size=2, steps=4,
        first_stage=0.5,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


def open_data(spec: str, split: Split, config: Config) -> LabelledFiles | LabelledFaces:
    """Open pictures with labels and instances; see `pentimento.data.labelled`."""
    return open_labelled(spec, split, config.size, config.classes)


@plain_dataclass(frozen=True)
class Batch:
    """Pictures and what is where.

    Attributes:
        image: (B, 3, H, W) in [-1, 1].
        labels: (B, H, W) int64; K and above is unknown.
        instances: (B, 1, H, W) int64.
    """

    image: Tensor
    labels: Tensor
    instances: Tensor


def halved(batch: Batch) -> Batch:
    """Return the same at half the size: pictures by means, classes and instances by picking."""
    small = F.avg_pool2d(batch.image, 2)
    return Batch(small, batch.labels[..., ::2, ::2], batch.instances[..., ::2, ::2])


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, H, W) → (B, K, H, W) float32; unknown pixels are 0 in every plane."""
    planes = labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]
    return planes.float()


def classes_of(planes: Tensor, classes: int) -> Tensor:
    """(B, K, H, W) → (B, H, W) int64; K where every plane is 0."""
    return planes.argmax(1).where(planes.amax(1) > 0, classes)


def collate(samples: Sequence[LabelledSample]) -> Batch:
    """Stack pictures, classes and instances."""
    image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([s.labels for s in samples]))
    instances = torch.from_numpy(np.stack([s.instances for s in samples]))
    return Batch(image.float() / 127.5 - 1, labels.long(), instances.long()[:, None])


# --- networks -------------------------------------------------------------------------------------


def _generator(c_in: int, c_out: int | None, width: int, blocks: int, downs: int) -> nn.Module:
    network = ResNetGenerator(c_in, c_out, width, blocks, downs, norm=instance_norm, bias=True)
    return draw_weights(network)


class Styles(nn.Module):
    """What instances of each class look like: centres of their features, without gradients.

    Args:
        classes: K.
        clusters: most centres per class.
        features: C.
    """

    centres: Tensor
    counts: Tensor

    def __init__(self, classes: int, clusters: int, features: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(classes, clusters, features))
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.long))

    def forward(self, labels: Tensor, instances: Tensor, seed: int) -> Tensor:
        """Draw a centre for every instance: (B, H, W), (B, 1, H, W) → (B, C, H, W)."""
        drawn = torch.Generator().manual_seed(seed)
        painted = self.centres.new_zeros(*labels.shape, self.centres.shape[2])
        for picture, (classes, things) in enumerate(zip(labels, instances[:, 0], strict=True)):
            for thing in things.unique():
                where = things == thing
                kind = int(classes[where].mode().values)
                if kind < len(self.counts) and (count := int(self.counts[kind])):
                    place = int(torch.randint(count, (), generator=drawn))
                    painted[picture][where] = self.centres[kind, place]
        return painted.movedim(-1, 1)


def cluster(points: Tensor, count: int, rounds: int = 50) -> Tensor:
    """Return up to `count` centres of (N, C) points by Lloyd's algorithm, begun far apart."""
    centres = points[:1]
    while len(centres) < min(count, len(points)):
        farthest = torch.cdist(points, centres).amin(1).argmax()
        centres = torch.cat([centres, points[farthest][None]])
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        moved = torch.stack(
            [
                points[nearest == n].mean(0) if (nearest == n).any() else centre
                for n, centre in enumerate(centres)
            ]
        )
        if moved.equal(centres):
            break
        centres = moved
    return centres


# --- losses ---------------------------------------------------------------------------------------

Features = Sequence[Sequence[Tensor]]


def scores(features: Features) -> list[Tensor]:
    """Return the last output of every scale's critic."""
    return [scale[-1] for scale in features]


def matching(fakes: Features, reals: Features) -> Tensor:
    """Return the feature matching of all layers but the scores, averaged over scales.

    A critic of n strided layers counts 4 / (n + 1), as officially.
    """
    distances = [
        4 / (len(fake) - 1) * feature_matching(fake[:-1], real[:-1])
        for fake, real in zip(fakes, reals, strict=True)
    ]
    return torch.stack(distances).mean()


def perceptual(judge: Judge, fake: Tensor, real: Tensor) -> Tensor:
    """Return the weighted mean absolute differences of what a judge sees, fine to coarse."""
    with torch.no_grad():
        wanted = judge(real)
    distances = [
        weight * F.l1_loss(one, other)
        for weight, one, other in zip(VGG_WEIGHTS[-len(wanted) :], judge(fake), wanted, strict=True)
    ]
    return torch.stack(distances).sum()


# --- the system -----------------------------------------------------------------------------------


class Pix2PixHD:
    """All networks, both stages of training, and painting of label maps of any size.

    Args:
        config: see `Config`.
    """

    score: Final[tuple[str, Literal["max", "min"]]] = ("looks", "min")

    def __init__(self, config: Config) -> None:
        c = self.config = config
        seen = c.classes + c.edges
        global_width = 2 * c.width
        last, tanh = output_layers(global_width, 3)
        networks: dict[str, nn.Module] = {
            "trunk": _generator(seen + c.features, None, global_width, c.blocks, c.downs),
            "head": draw_weights(nn.Sequential(last, tanh)),
            "critic": draw_weights(
                MultiscaleCritic(
                    seen + 3, c.critic_width, c.critic_layers, c.scales, norm=instance_norm
                )
            ),
        }
        if c.enhance:
            networks["enhancer"] = _generator(seen + c.features, 3, c.width, c.local_blocks, 1)
        if c.features:
            networks["encoder"] = _generator(3, c.features, c.encoder_width, 0, c.downs)
            networks["styles"] = Styles(c.classes, c.clusters, c.features)
        self.networks = nn.ModuleDict(networks)
        painters = tuple(n for n in ("trunk", "head", "enhancer", "encoder") if n in networks)
        schedule = _two_stages(c.first_stage) if c.enhance else linear_decay(0.5)
        self.optimizers = {
            "generator": OptimizerSpec(painters, c.lr, (0.5, 0.999), schedule=schedule),
            "critic": OptimizerSpec(("critic",), c.lr, (0.5, 0.999), schedule=schedule),
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps
        self._step = 0
        self._judge = None if c.perceptual == "none" else Judge(c.perceptual, imagenet=False)

    def collate(self, samples: Sequence[LabelledSample]) -> Batch:
        """Stack pictures, classes and instances."""
        return collate(samples)

    # --- painting

    def _condition(self, batch: Batch) -> Tensor:
        planes = [one_hot(batch.labels, self.config.classes)]
        if self.config.edges:
            planes.append(instance_edges(batch.instances))
        return torch.cat(planes, 1)

    def _paint(self, condition: Tensor, *, enhance: bool, hold: bool = False) -> Tensor:
        """Paint a condition with its features; `hold` keeps gradients from the global generator."""
        trunk = self.networks["trunk"]
        if not enhance:
            painted: Tensor = self.networks["head"](trunk(condition))
            return painted
        small = F.avg_pool2d(condition, 3, stride=2, padding=1, count_include_pad=False)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not hold):
            coarse = trunk(small)
        enhanced: Tensor = self.networks["enhancer"](condition, coarse)
        return enhanced

    def _with_features(self, batch: Batch, condition: Tensor) -> Tensor:
        if not self.config.features:
            return condition
        own = pool_instances(self.networks["encoder"](batch.image), batch.instances)
        return torch.cat([condition, own], 1)

    # --- training

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Do one step of the stage that the count of steps says: generator, then critic."""
        c = self.config
        second = (self._step / c.steps - c.first_stage) / (1 - c.first_stage)  # share of stage two
        enhance = c.enhance and second >= 0
        self._step += 1
        if c.enhance and not enhance:
            batch = halved(batch)
        seen = self._condition(batch)
        hold = second < c.hold
        fake = self._paint(self._with_features(batch, seen), enhance=enhance, hold=hold)
        generator = self._generator_terms(batch, seen, fake)
        update("generator", generator)
        critic = {
            f"critic/{name}": 0.5 * least_squares(scores(self._opinion(seen, picture)), real)
            for name, picture, real in (("fake", fake.detach(), False), ("real", batch.image, True))
        }
        update("critic", critic)
        return generator | critic

    def _opinion(self, seen: Tensor, picture: Tensor) -> list[list[Tensor]]:
        finest = self.config.enhance and picture.shape[2] < self.config.size[0]
        features: list[list[Tensor]] = self.networks["critic"](
            torch.cat([seen, picture], 1), int(finest)
        )
        return features

    def _generator_terms(self, batch: Batch, seen: Tensor, fake: Tensor) -> dict[str, Tensor]:
        c = self.config
        with torch.no_grad():
            reals = self._opinion(seen, batch.image)
        fakes = self._opinion(seen, fake)
        terms = {"generator/gan": least_squares(scores(fakes), True)}
        if c.feature_weight:
            terms["generator/features"] = c.feature_weight * matching(fakes, reals)
        if self._judge is not None:
            apart = perceptual(self._judge, fake, batch.image)
            terms["generator/perceptual"] = c.perceptual_weight * apart
        return terms

    # --- measuring

    @property
    def _coarse(self) -> bool:
        """Whether stage one can be looked at by itself; official enhancers lack its last layer."""
        return self.config.enhance and "head" in self.networks

    def _repaint(self, batch: Batch, *, enhance: bool) -> Tensor:
        """Paint labels in the style of their own pictures."""
        return self._paint(self._with_features(batch, self._condition(batch)), enhance=enhance)

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure likeness to the true pictures: SSIM, PSNR in dB, `looks` (`metrics.perceptual`).

        With an enhancer there is also `coarse_ssim`, of the global generator at half the size: all
        that means something during stage one.
        """
        fine, coarse = Likeness(), Likeness()
        for batch in batches:
            painted = self._repaint(batch, enhance=self.config.enhance)
            fine.add(arrays(batch.image), arrays(painted))
            if self._coarse:
                small = halved(batch)
                coarse.add(arrays(small.image), arrays(self._repaint(small, enhance=False)))
        found = fine.value()
        return found | {"coarse_ssim": coarse.value()["ssim"]} if self._coarse else found

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: its classes, painted by the global generator, with the enhancer, the truth.

        Without an enhancer the second column is left out.
        """
        columns = [one_hot(batch.labels, self.config.classes)]
        if self._coarse:
            coarse = self._repaint(halved(batch), enhance=False)
            columns.append(F.interpolate(coarse, scale_factor=2))
        columns += [self._repaint(batch, enhance=self.config.enhance), batch.image]
        return torch.stack([as_colours(x) for x in columns], 1)

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

    @torch.no_grad()
    def learn_styles(self, batches: Iterable[Batch]) -> None:
        """Cluster the features of instances, class by class, for `predict` to draw from.

        Only instances of more than 1/64 of their picture count, as officially, unless a class has
        none of that size. To be called once after training, before the model is saved.

        Args:
            batches: training pictures, on the networks' device.

        Raises:
            ConfigError: the model has no encoder.
        """
        if not self.config.features:
            raise ConfigError("this model has no instance encoder; there are no styles to learn")
        large: dict[int, list[Tensor]] = {}
        small: dict[int, list[Tensor]] = {}
        encoder, styles = self.networks["encoder"].eval(), self.networks["styles"]
        assert isinstance(styles, Styles)
        for batch in batches:
            pooled = pool_instances(encoder(batch.image), batch.instances).movedim(1, -1)
            pictures = zip(batch.labels, batch.instances[:, 0], pooled, strict=True)
            for classes, things, own in pictures:
                for thing in things.unique():
                    where = things == thing
                    found = large if 64 * int(where.sum()) > where.numel() else small
                    found.setdefault(int(classes[where].mode().values), []).append(own[where][0])
        for kind, points in (small | large).items():
            if kind < self.config.classes:
                centres = cluster(torch.stack(points), self.config.clusters)
                styles.centres[kind, : len(centres)] = centres
                styles.counts[kind] = len(centres)

    def channels(self, direction: Direction | None = None) -> int:
        """Return K: `predict` expects one plane per class, and goes one way only."""
        if direction == "BtoA":
            raise ConfigError("this model paints pictures from labels (AtoB) only")
        return self.config.classes

    @torch.no_grad()
    def predict(
        self,
        condition: Tensor,
        *,
        instances: Tensor | None = None,
        direction: Direction | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Paint label maps in drawn styles.

        Args:
            condition: (B, K, H, W), one plane per class, of any size; the networks are on its
                device.
            instances: (B, 1, H, W) integers; without them classes are the instances.
            direction: `AtoB`, if given.
            seed: of the styles.

        Returns:
            (B, 3, H, W) in [-1, 1].

        Raises:
            ConfigError: the model has an encoder, but `learn_styles` was never called.
        """
        if condition.shape[1] != self.channels(direction):
            raise ValueError(
                f"expected (B, {self.config.classes}, H, W), got {tuple(condition.shape)}"
            )
        height, width = condition.shape[2:]
        multiple = 2 ** (self.config.downs + self.config.enhance)
        labels = classes_of(condition, self.config.classes)[:, None].float()
        things = labels if instances is None else instances.double()
        frame = (multiple, 2 * multiple)
        labels, things = (pad_to_multiple(each, *frame).long() for each in (labels, things))
        batch = Batch(condition, labels[:, 0], things)
        self.networks.eval()
        seen = self._condition(batch)
        if self.config.features:
            styles = self.networks["styles"]
            assert isinstance(styles, Styles)
            if not styles.counts.any():
                raise ConfigError(
                    "this model's styles were never learnt; `pentimento styles MODEL --data "
                    "SPEC` learns them from pictures"
                )
            seen = torch.cat([seen, styles(batch.labels, batch.instances, seed)], 1)
        painted = self._paint(seen, enhance=self.config.enhance)
        return painted[..., :height, :width]


def _two_stages(first_stage: float) -> Schedule:
    """Keep the rate for half of each stage, then let it fall to 0."""
    decay = linear_decay(0.5)

    def factor(done: float) -> float:
        if done < first_stage:
            return decay(done / first_stage)
        return decay((done - first_stage) / (1 - first_stage))

    return factor
