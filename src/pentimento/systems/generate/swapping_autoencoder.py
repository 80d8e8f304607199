"""Swapping autoencoder: structure and texture of pictures, mixed (Park et al., NeurIPS 2020).

Implemented: encoder, generator, picture critic and patch co-occurrence critic at the official
sizes, all losses (reconstruction, non-saturating adversarial on reconstructions and on swaps,
co-occurrence of patches), lazy R1 regularisation, swapping, interpolation, and texture maps, which
give every region its own texture.

Differs:
- Critics and autoencoder learn from the same batch in every step, critics first; officially they
  take turns, each on batches of its own.
- Texture maps work for any batch size; the official broadcast only for batch 1.
- Inference draws the generator's noise from a fixed seed, so that it is repeatable.

Alphabet: B batch, even; S picture size; C structure channels; Z texture length; h = S / 16 side of
the structure code (at four halvings); T patches per picture; P patch size. Pictures are in [-1, 1].

Train: `pentimento train swapping_autoencoder --data pictures:DIR --preset compact --out runs/swap`.
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


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """Sizes of the networks and the course of training.

    Attributes:
        size: S, a power of two.
        encoder_width: channels of the encoder's first layer; doubled at every halving.
        structure: C.
        structure_downs: halvings on the way to the structure code.
        texture: Z.
        texture_downs: further halvings on the way to the texture code.
        head_widths: channels of the generator's blocks at the structure code's size.
        widths: channels of its up-sampling blocks, one per halving of the structure.
        critic_base: channels of the picture critic times resolution.
        critic_max: most channels of the picture critic.
        patch: P, a power of two.
        patches: T.
        patch_width: channels of the patch critic's first layer; doubled up to `patch_max`.
        patch_max: most channels of its strided layers.
        pair_width: width of the layers that compare two patches.
        average_reference: compare with the mean features of all reference patches (official
            pretrained models), not with one patch each.
        adversarial_rec: weight of the adversarial loss on reconstructions.
        r1: γ of the picture critic's gradient penalty.
        patch_r1: γ of the patch critic's.
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
    texture_downs: int = 2
    head_widths: tuple[int, ...] = (256, 512)
    widths: tuple[int, ...] = (512, 512, 256, 128)
    critic_base: int = 32768
    critic_max: int = 512
    patch: int = 128
    patches: int = 8
    patch_width: int = 32
    patch_max: int = 384
    pair_width: int = 2048
    average_reference: bool = True
    adversarial_rec: float = 0.5
    r1: float = 10.0
    patch_r1: float = 1.0
    r1_every: int = 16
    lr: float = 0.002
    batch_size: int = 16
    steps: int = 781_250

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved and batches that cannot be paired."""
        for name in ("size", "patch"):
            side = getattr(self, name)
            if side < 8 or side & (side - 1):
                raise ValueError(f"{name} must be a power of two from 8 on, got {side}")
        least = smallest_side(self.structure_downs, self.texture_downs)
        if self.size < least:
            raise ValueError(f"size must be at least {least} with these halvings, got {self.size}")
        if len(self.widths) != self.structure_downs:
            raise ValueError(
                f"widths must name {self.structure_downs} blocks, one per halving of the "
                f"structure code, got {self.widths}"
            )
        if self.batch_size < 2 or self.batch_size % 2:
            raise ValueError(f"batch_size must be even (pictures swap), got {self.batch_size}")


def paper() -> Config:
    """Return the official 256-pixel model: 109 M parameters, 25 million pictures shown in all."""
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
        patch_max=8, pair_width=8, r1_every=2, batch_size=2, steps=4,
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


@plain_dataclass(frozen=True)
class Codes:
    """What the encoder makes of pictures.

    Attributes:
        structure: (B, C, h, h), unit length over channels.
        texture: (B, Z), unit length, or a map of textures (B, Z, any, any).
    """

    structure: Tensor
    texture: Tensor


# --- losses ---------------------------------------------------------------------------------------


def pay_real(scores: Tensor) -> Tensor:
    """Return what is paid for scores that should say real (non-saturating)."""
    return F.softplus(-scores.float()).mean()


def pay_fake(scores: Tensor) -> Tensor:
    """Return what is paid for scores that should say fake."""
    return F.softplus(scores.float()).mean()


def gradient_penalty(scores: Tensor, *inputs: Tensor) -> Tensor:
    """Return R1: the squared gradient of the scores, per sample, averaged (Mescheder et al. 2018).

    Args:
        scores: a critic's, any shape.
        inputs: (B, …) tensors that require gradients.
    """
    gradients = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return torch.stack([g.square().flatten(1).sum(1).mean() for g in gradients]).sum()


# --- system ---------------------------------------------------------------------------------------


class SwappingAutoencoder:
    """Networks, training, and mixing.

    Args:
        config: see `Config`.
    """

    score: Final[tuple[str, Literal["max", "min"]]] = ("l1", "min")

    def __init__(self, config: Config) -> None:
        c = self.config = config
        self.networks = nn.ModuleDict(
            {
                "encoder": Encoder(
                    c.encoder_width,
                    c.structure,
                    c.texture,
                    downs=c.structure_downs,
                    texture_downs=c.texture_downs,
                ),
                "generator": Generator(c.structure, c.texture, c.head_widths, c.widths),
                "critic": Critic(c.size, c.critic_base, c.critic_max, group=0),
                "patch_critic": PatchCritic(
                    c.patch, c.patch_width, c.patch_max, c.pair_width, average=c.average_reference
                ),
            }
        )
        # Lazy penalties are extra steps; this keeps the rate per picture (Karras et al. 2020).
        lazy = c.r1_every / (c.r1_every + 1)
        critics = ("critic", "patch_critic")
        self.optimizers = {
            "autoencoder": OptimizerSpec(("encoder", "generator"), c.lr, (0.0, 0.99)),
            "critics": OptimizerSpec(critics, c.lr * lazy, (0.0, 0.99**lazy)),
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps
        self._step = 0

    def collate(self, samples: Sequence[_HasImage]) -> Batch:
        """Stack pictures, to [-1, 1]."""
        return Batch(_to_tensor(np.stack([sample.image for sample in samples])))

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Teach the critics, then the autoencoder; an odd picture of the batch is left out."""
        real = batch.image[: len(batch.image) // 2 * 2]
        critics = self._teach_critics(real, update, self._step % self.config.r1_every == 0)
        self._step += 1
        return {**critics, **self._teach_autoencoder(real, update)}

    def _teach_critics(self, real: Tensor, update: Update, penalise: bool) -> Terms:
        critic, patch_critic = self.networks["critic"], self.networks["patch_critic"]
        with torch.no_grad():
            rec, mix = self._paint(real)
        reference, other = self._patches(real), self._patches(real)
        same, mixed = patch_critic(reference, torch.cat([other, self._patches(mix)], 1)).chunk(2, 1)
        terms = {
            "critic/real": pay_real(critic(real)),
            "critic/rec": 0.5 * pay_fake(critic(rec)),
            "critic/mix": 0.5 * pay_fake(critic(mix)),
            "patch_critic/real": pay_real(same),
            "patch_critic/mix": pay_fake(mixed),
        }
        update("critics", terms)
        if not penalise:
            return terms
        image, *patches = (x.detach().requires_grad_() for x in (real, reference, other))
        image_penalty = gradient_penalty(critic(image), image)
        patch_penalty = gradient_penalty(patch_critic(*patches), *patches)
        often = self.config.r1_every / 2  # γ / 2, as often as it is left out
        penalties = {
            "critic/r1": often * self.config.r1 * image_penalty,
            "patch_critic/r1": often * self.config.patch_r1 * patch_penalty,
        }
        update("critics", penalties)
        return {**terms, **penalties}

    def _teach_autoencoder(self, real: Tensor, update: Update) -> Terms:
        critic, patch_critic = self.networks["critic"], self.networks["patch_critic"]
        rec, mix = self._paint(real)
        terms = {
            "l1": F.l1_loss(rec, real[: len(rec)]),
            "adversarial/rec": self.config.adversarial_rec * pay_real(critic(rec)),
            "adversarial/mix": pay_real(critic(mix)),
            "patches/mix": pay_real(patch_critic(self._patches(real), self._patches(mix))),
        }
        update("autoencoder", terms)
        return terms

    def _paint(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct the first half; give every picture the structure of its pair's other one."""
        structure, texture = self.networks["encoder"](real)
        half = len(real) // 2
        rec = self.networks["generator"](structure[:half], texture[:half])
        swapped = structure.unflatten(0, (half, 2)).flip(1).flatten(0, 1)
        return rec, self.networks["generator"](swapped, texture)

    def _patches(self, image: Tensor) -> Tensor:
        return random_patches(image, self.config.patch, self.config.patches)

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure reconstruction: mean absolute error in [0, 2], and PSNR in dB."""
        errors, squares = [], []
        for batch in batches:
            difference = self._decode(*self.networks["encoder"](batch.image)) - batch.image
            errors += difference.abs().mean((1, 2, 3)).tolist()
            squares += difference.square().mean((1, 2, 3)).tolist()
        psnr = 10 * np.log10(4 / np.maximum(squares, 1e-10))  # pictures span 2
        return {"l1": float(np.mean(errors)), "psnr": float(psnr.mean())}

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: itself, its reconstruction, its structure in its neighbour's texture."""
        structure, texture = self.networks["encoder"](batch.image)
        columns = [batch.image, self._decode(structure, texture)]
        columns.append(self._decode(structure, texture.roll(1, 0)))
        return (torch.stack(columns, 1) / 2 + 0.5).clamp(0, 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the count of steps, which decides when the penalty is due."""
        return {"step": torch.tensor(self._step)}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the count of steps."""
        self._step = int(state["step"])

    def _decode(self, structure: Tensor, texture: Tensor) -> Tensor:
        return self.networks["generator"](structure, texture, noise=0)

    @torch.no_grad()
    def encode(self, image: NDArray[np.uint8]) -> Codes:
        """Take a picture (H, W, 3) uint8 RGB apart.

        Raises:
            ValueError: a side is no multiple of 2^structure_downs, or too short for the encoder.
        """
        factor = 2**self.config.structure_downs
        least = smallest_side(self.config.structure_downs, self.config.texture_downs)
        if (
            image.ndim != 3
            or image.shape[2] != 3
            or any(side % factor or side < least for side in image.shape[:2])
        ):
            raise ValueError(
                f"a picture is (H, W, 3) with sides that are multiples of {factor} and at least "
                f"{least}, got {image.shape}"
            )
        device = next(self.networks.parameters()).device
        return Codes(*self.networks["encoder"](_to_tensor(image[None]).to(device)))

    @torch.no_grad()
    def decode(self, codes: Codes) -> NDArray[np.uint8]:
        """Paint the picture (H, W, 3) uint8 RGB of one picture's codes."""
        pixels = (self._decode(codes.structure, codes.texture)[0] + 1) * 127.5
        return pixels.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()

    def swap(
        self,
        image: NDArray[np.uint8],
        other: NDArray[np.uint8],
        amount: float = 1.0,
        region: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.uint8]:
        """Give a picture the texture of another.

        Args:
            image: (H, W, 3) uint8 RGB, whose structure stays.
            other: picture of the texture, any size that `encode` takes.
            amount: 0 keeps the own texture, 1 takes the other, between mixes.
            region: (H, W) where the other texture goes; None is everywhere.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        own, wanted = self.encode(image), self.encode(other)
        if region is None:
            return self.decode(Codes(own.structure, own.texture.lerp(wanted.texture, amount)))
        if region.shape != image.shape[:2]:
            raise ValueError(f"region {region.shape} does not fit the picture {image.shape[:2]}")
        share = torch.from_numpy(region.astype(np.float32) * amount)[None, None]
        share = F.interpolate(share, own.structure.shape[2:], mode="area").to(own.structure)
        maps = [codes.texture[:, :, None, None] for codes in (own, wanted)]
        return self.decode(Codes(own.structure, maps[0] + share * (maps[1] - maps[0])))


def _to_tensor(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
