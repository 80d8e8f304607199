"""TCP: repaint a region with another picture's content and style (You et al., ACM MM 2021).

"Towards Controllable and Photorealistic Region-wise Image Manipulation", arXiv 2108.08674. An
autoencoder of a structure (content) and a texture (style) code learns two things more than to swap:
code consistency, by which a painted picture must encode to the codes it was painted from, and
content alignment, by which an edit inside a region must not change what is outside. No labels are
needed; the region is the user's at test time and random in training.

Differs: there is no official code, and the paper's weights and masks are not known here, so these
are choices of this project:
- Networks, critics and adversarial losses are those of the swapping autoencoder, in its official
  form, at smaller sizes.
- Regions in training are random rectangles on the grid of the structure code. Inside, both codes
  come from another picture of the batch; the painted edit must equal the plain reconstructions of
  the two pictures, each on its side, but for one cell along the seam, which is left to the critic.
- Code consistency is the L1 norm of the difference of unit-length codes; the codes it aims at are
  constants.

Alphabet: B batch; S picture size; C structure channels; Z texture length; h side of the
structure code. Pictures are in [-1, 1].

Train: `pentimento train tcp --data pictures:DIR --preset compact --out runs/tcp`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Final, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.pictures import open_pictures
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.nn.stylegan import Critic
from pentimento.nn.swapping import Encoder, Generator, PatchCritic, smallest_side
from pentimento.ops.patches import random_patches
from pentimento.systems.generate.swapping_autoencoder import gradient_penalty, pay_fake, pay_real


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """Sizes of the networks and the course of training.

    Attributes:
        size: S, a power of two.
        encoder_width: channels of the encoder's first layer; doubled at every halving.
        structure: C.
        structure_downs: halvings on the way to the structure code.
        texture: Z.
        head_widths: channels of the generator's blocks at the structure code's size.
        widths: channels of its up-sampling blocks, one per halving of the structure.
        critic_base: channels of the picture critic times resolution.
        critic_max: most channels of the picture critic.
        patch: side of the patch critic's patches, a power of two.
        patches: patches per picture.
        patch_width: channels of the patch critic's first layer; doubled up to `patch_max`.
        patch_max: most channels of its strided layers.
        pair_width: width of the layers that compare two patches.
        consistency: weight of code consistency.
        consistency_every: steps between two of its turns, 16 in the paper.
        structure_share: λ, the structure's weight beside the texture's in code consistency.
        alignment: weight of content alignment.
        r1: γ of both critics' gradient penalty.
        r1_every: steps between two penalties; each counts that many times.
        lr: Adam's learning rate.
        batch_size: B.
        steps: length of a run.
    """

    size: int = 256
    encoder_width: int = 32
    structure: int = 8
    structure_downs: int = 4
    texture: int = 2048
    head_widths: tuple[int, ...] = (256, 512)
    widths: tuple[int, ...] = (512, 512, 256, 128)
    critic_base: int = 32768
    critic_max: int = 512
    patch: int = 128
    patches: int = 8
    patch_width: int = 32
    patch_max: int = 384
    pair_width: int = 2048
    consistency: float = 1.0
    consistency_every: int = 16
    structure_share: float = 1.0
    alignment: float = 1.0
    r1: float = 10.0
    r1_every: int = 16
    lr: float = 0.002
    batch_size: int = 16
    steps: int = 500_000

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved and batches that cannot be paired."""
        for name in ("size", "patch"):
            side = getattr(self, name)
            if side < 8 or side & (side - 1):
                raise ValueError(f"{name} must be a power of two from 8 on, got {side}")
        least = smallest_side(self.structure_downs)
        if self.size < least:
            raise ValueError(f"size must be at least {least} with these halvings, got {self.size}")
        if len(self.widths) != self.structure_downs:
            raise ValueError(
                f"widths must name {self.structure_downs} blocks, one per halving of the "
                f"structure code, got {self.widths}"
            )
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: pictures are mixed with each other")


def paper() -> Config:
    """Return the swapping autoencoder's sizes at 256 pixels; the paper's own are not known here."""
    return Config()


def compact() -> Config:
    """Return a model for 128 pixels and one GPU."""
    return Config(
        size=128, encoder_width=16, texture=512, head_widths=(64, 128), widths=(128, 128, 64, 32),
        critic_base=4096, critic_max=256, patch=64, patch_width=16, patch_max=128, pair_width=512,
        batch_size=8, steps=200_000,
    )  # fmt: skip


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        size=32, encoder_width=4, structure=2, structure_downs=2, texture=8, head_widths=(4, 8),
        widths=(8, 4), critic_base=128, critic_max=8, patch=8, patches=2, patch_width=4,
        patch_max=8, pair_width=8, consistency_every=2, r1_every=2, batch_size=2, steps=4,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


class _HasImage(Protocol):
    @property
    def image(self) -> NDArray[np.uint8]: ...


def open_data(spec: str, split: Split, config: Config) -> Dataset[_HasImage]:
    """Open pictures; see `pentimento.data.pictures`."""
    return open_pictures(spec, split, config.size)


@plain_dataclass(frozen=True)
class Batch:
    """Pictures.

    Attributes:
        image: (B, 3, S, S) in [-1, 1].
    """

    image: Tensor


# --- regions --------------------------------------------------------------------------------------


def random_rectangles(count: int, side: int, device: torch.device) -> Tensor:
    """Return (count, 1, side, side): ones in a rectangle of a quarter to three quarters a side."""
    length = (torch.rand(count, 2, device=device) * 0.5 + 0.25) * side
    start = torch.rand(count, 2, device=device) * (side - length)
    place = torch.arange(side, device=device) + 0.5
    y, x = (
        (place > start[:, axis, None]) & (place < (start + length)[:, axis, None])
        for axis in (0, 1)
    )
    return (y[:, None, :, None] & x[:, None, None, :]).float()


def blend(inside: Tensor, outside: Tensor, region: Tensor) -> Tensor:
    """Return one code inside the region and another outside.

    Args:
        inside: (B, D) or (B, D, h, h).
        outside: the same shape.
        region: (B, 1, h, h) in [0, 1].

    Returns:
        (B, D, h, h).
    """
    if inside.ndim == 2:
        inside, outside = inside[:, :, None, None], outside[:, :, None, None]
    return outside + region * (inside - outside)


# --- losses ---------------------------------------------------------------------------------------


def content_alignment(edit: Tensor, inside: Tensor, outside: Tensor, region: Tensor) -> Tensor:
    """Return the mean distance of an edit from the picture that rules each side of its region.

    Args:
        edit: (B, 3, S, S).
        inside: what the region should show.
        outside: what the rest should show.
        region: (B, 1, h, h), ones inside; cells that touch the seam do not count.
    """
    sides = []
    for picture, own in ((inside, region), (outside, 1 - region)):
        clear = 1 - F.max_pool2d(1 - own, 3, stride=1, padding=1)  # all neighbours are of this side
        weight = F.interpolate(clear, edit.shape[2:])
        distance = (edit - picture).abs().mean(1, keepdim=True)
        sides.append((weight * distance).sum() / weight.sum().clamp(min=1))
    return sides[0] + sides[1]


def code_distance(code: Tensor, wanted: Tensor) -> Tensor:
    """Return the L1 distance of unit-length codes over their channels, averaged over the rest."""
    return (code - wanted.detach()).abs().sum(1).mean()


# --- system ---------------------------------------------------------------------------------------


class TCP:
    """Networks, training, and editing regions.

    Args:
        config: see `Config`.
    """

    score: Final[tuple[str, Literal["max", "min"]]] = ("l1", "min")

    def __init__(self, config: Config) -> None:
        c = self.config = config
        self.networks = nn.ModuleDict(
            {
                "encoder": Encoder(
                    c.encoder_width, c.structure, c.texture, downs=c.structure_downs
                ),
                "generator": Generator(c.structure, c.texture, c.head_widths, c.widths),
                "critic": Critic(c.size, c.critic_base, c.critic_max, group=0),
                "patch_critic": PatchCritic(c.patch, c.patch_width, c.patch_max, c.pair_width),
            }
        )
        lazy = c.r1_every / (c.r1_every + 1)
        self.optimizers = {
            "autoencoder": OptimizerSpec(("encoder", "generator"), c.lr, (0.0, 0.99)),
            "critics": OptimizerSpec(("critic", "patch_critic"), c.lr * lazy, (0.0, 0.99**lazy)),
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps
        self._step = 0

    def collate(self, samples: Sequence[_HasImage]) -> Batch:
        """Stack pictures, to [-1, 1]."""
        return Batch(_to_tensor(np.stack([sample.image for sample in samples])))

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Paint once; teach the critics with it, then the autoencoder."""
        c, real, step = self.config, batch.image, self._step
        self._step += 1
        structure, texture = self.networks["encoder"](real)
        paint = self.networks["generator"]
        # Every picture meets its neighbour: as structure of a swap, and inside a region.
        structure2, texture2 = structure.roll(1, 0), texture.roll(1, 0)
        region = random_rectangles(len(real), structure.shape[2], real.device)
        rec, mix = paint(structure, texture), paint(structure2, texture)
        edit = paint(blend(structure2, structure, region), blend(texture2, texture, region))
        fakes = {"rec": rec, "mix": mix, "edit": edit}

        critics = self._teach_critics(real, fakes, update, step % c.r1_every == 0)

        terms = {
            f"adversarial/{name}": pay_real(self.networks["critic"](fake)) / len(fakes)
            for name, fake in fakes.items()
        }
        terms["l1"] = F.l1_loss(rec, real)
        terms["patches/mix"] = pay_real(
            self.networks["patch_critic"](self._patches(real), self._patches(mix))
        )
        plain = rec.detach()
        terms["alignment"] = c.alignment * content_alignment(edit, plain.roll(1, 0), plain, region)
        if step % c.consistency_every == 0:
            again = self.networks["encoder"](mix)
            terms["consistency/texture"] = c.consistency * code_distance(again[1], texture)
            terms["consistency/structure"] = (
                c.consistency * c.structure_share * code_distance(again[0], structure2)
            )
        update("autoencoder", terms)
        return {**critics, **terms}

    def _teach_critics(
        self, real: Tensor, fakes: Mapping[str, Tensor], update: Update, penalise: bool
    ) -> Terms:
        critic, patch_critic = self.networks["critic"], self.networks["patch_critic"]
        reference, other = self._patches(real), self._patches(real)
        mix = self._patches(fakes["mix"].detach())
        same, mixed = patch_critic(reference, torch.cat([other, mix], 1)).chunk(2, 1)
        terms = {
            "critic/real": pay_real(critic(real)),
            "patch_critic/real": pay_real(same),
            "patch_critic/mix": pay_fake(mixed),
        }
        for name, fake in fakes.items():
            terms[f"critic/{name}"] = pay_fake(critic(fake.detach())) / len(fakes)
        update("critics", terms)
        if not penalise:
            return terms
        image, *patches = (x.detach().requires_grad_() for x in (real, reference, other))
        often = self.config.r1 * self.config.r1_every / 2  # γ / 2, as often as it is left out
        penalties = {
            "critic/r1": often * gradient_penalty(critic(image), image),
            "patch_critic/r1": often * gradient_penalty(patch_critic(*patches), *patches),
        }
        update("critics", penalties)
        return {**terms, **penalties}

    def _patches(self, image: Tensor) -> Tensor:
        return random_patches(image, self.config.patch, self.config.patches)

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure reconstruction, and how far edits spill over their seam.

        Returns:
            `l1`: mean absolute error of reconstructions, in [0, 2]; `spill`: how far edits are from
            the plain reconstruction of the picture that rules each side, away from the seam.
        """
        errors, spill = [], []
        for batch in batches:
            structure, texture = self.networks["encoder"](batch.image)
            rec = self._paint(structure, texture)
            errors += (rec - batch.image).abs().mean((1, 2, 3)).tolist()
            region = random_rectangles(len(rec), structure.shape[2], rec.device)
            edit = self._paint(
                blend(structure.roll(1, 0), structure, region),
                blend(texture.roll(1, 0), texture, region),
            )
            spill.append(float(content_alignment(edit, rec.roll(1, 0), rec, region)) / 2)
        return {"l1": float(np.mean(errors)), "spill": float(np.mean(spill))}

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: itself, its reconstruction, and its middle repainted by its neighbour."""
        structure, texture = self.networks["encoder"](batch.image)
        region = torch.zeros_like(structure[:, :1])
        quarter = structure.shape[2] // 4
        region[:, :, quarter:-quarter, quarter:-quarter] = 1
        edit = self._paint(
            blend(structure.roll(1, 0), structure, region),
            blend(texture.roll(1, 0), texture, region),
        )
        columns = [batch.image, self._paint(structure, texture), edit]
        return (torch.stack(columns, 1) / 2 + 0.5).clamp(0, 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the count of steps, which decides when the lazy losses are due."""
        return {"step": torch.tensor(self._step)}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the count of steps."""
        self._step = int(state["step"])

    def _paint(self, structure: Tensor, texture: Tensor) -> Tensor:
        return self.networks["generator"](structure, texture, noise=0)

    @torch.no_grad()
    def edit(
        self,
        image: NDArray[np.uint8],
        other: NDArray[np.uint8],
        region: NDArray[np.bool_],
        *,
        content: float = 1.0,
        style: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Repaint a region with what another picture has at the same place.

        Args:
            image: (H, W, 3) uint8 RGB, sides multiples of 2^structure_downs.
            other: a picture of the same size.
            region: (H, W) bool, what may change.
            content: share of the other's content in the region, in [0, 1].
            style: share of its style.

        Returns:
            (H, W, 3) uint8 RGB, painted as a whole.

        Raises:
            ValueError: sizes differ, or a side does not suit the encoder.
        """
        factor = 2**self.config.structure_downs
        if image.shape != other.shape or image.shape != (*region.shape, 3):
            raise ValueError(
                f"pictures {image.shape} and {other.shape} and region {region.shape} must have "
                f"one size"
            )
        least = smallest_side(self.config.structure_downs)
        if any(side % factor or side < least for side in region.shape):
            raise ValueError(
                f"sides must be multiples of {factor} and at least {least}, got {region.shape}"
            )
        device = next(self.networks.parameters()).device
        pictures = _to_tensor(np.stack([image, other])).to(device)
        structure, texture = self.networks["encoder"](pictures)
        share = torch.from_numpy(region.astype(np.float32))[None, None].to(device)
        share = F.interpolate(share, structure.shape[2:], mode="area")
        painted = self._paint(
            blend(structure[1:], structure[:1], share * content),
            blend(texture[1:], texture[:1], share * style),
        )
        pixels = ((painted[0] + 1) * 127.5).round().clamp(0, 255).byte()
        return pixels.permute(1, 2, 0).cpu().numpy()


def _to_tensor(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
