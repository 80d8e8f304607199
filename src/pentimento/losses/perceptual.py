"""Distances between the features that a frozen network sees in two pictures.

No network is ever downloaded, and none is used untrained: VGG-19 comes from a file of the user's.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from pentimento.errors import CheckpointError

LEVEL_WEIGHTS: Final = (1 / 4, 1 / 4, 1 / 4, 1 / 8, 1 / 8)
"""Of relu1_1 … relu5_1, in Mask-Guided Portrait Editing."""

# Channels of the convolutions up to conv5_1; 0 is a pooling.
_VGG19: Final = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
_FIRST_OF_BLOCK: Final = (1, 6, 11, 20, 29)  # places of relu1_1 … relu5_1 in torchvision's list


class VGG19(nn.Module):
    """The convolutions of VGG-19 (Simonyan & Zisserman 2015) up to relu5_1, torchvision's keys."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _VGG19:
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Return relu1_1 … relu5_1 of (B, 3, H, W); the caller normalises."""
        seen = []
        for place, layer in enumerate(self.features):
            picture = layer(picture)
            if place in _FIRST_OF_BLOCK:
                seen.append(picture)
        return seen


def load_vgg19(file: Path) -> tuple[VGG19, str]:
    """Load VGG-19 from a safetensors file with torchvision's keys (`features.0.weight` …).

    Keys of later layers and of the classifier are allowed and ignored.

    Returns:
        The frozen network and the SHA-256 of the file.

    Raises:
        CheckpointError: the file is not there, is no safetensors file, or lacks a tensor.
    """
    try:
        data = file.read_bytes()
        state = load_tensors(data)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file}: no readable safetensors file of VGG-19 ({error}). Name one in torchvision's "
            "layout with --set perceptual=vgg19:FILE, or train without: --set perceptual=none, or "
            "with the parser's features: --set perceptual=parser"
        ) from error
    net = VGG19()
    wanted = net.state_dict()
    wrong = [
        key for key, value in wanted.items() if key not in state or state[key].shape != value.shape
    ]
    if wrong:
        raise CheckpointError(f"{file}: is not torchvision's VGG-19: {', '.join(wrong[:4])} …")
    net.load_state_dict({key: state[key] for key in wanted})
    return net.eval().requires_grad_(False), sha256(data).hexdigest()


def feature_distance(
    fakes: Sequence[Tensor], reals: Sequence[Tensor], weights: Sequence[float], where: Tensor
) -> Tensor:
    """Return the weighted sum over levels of the mean absolute difference of features.

    Args:
        fakes: features of the picture that learns, (B, C, h, w) per level.
        reals: features of the other one.
        weights: of the levels.
        where: (B, P, H, W) ≥ 0, how much each pixel counts for each of P regions. A feature counts
            for a region as much as the pixel of its own that counts most; regions add up.
    """
    distances = [
        weight * ((fake - real).abs() * _pooled(where, fake)).mean()
        for weight, fake, real in zip(weights, fakes, reals, strict=True)
    ]
    return torch.stack(distances).sum()


def _pooled(where: Tensor, features: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(where, features.shape[-2:]).sum(1, keepdim=True)
