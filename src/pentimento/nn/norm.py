"""Normalisations of the translation GANs, whose statistics are those of one picture.

Users: pix2pix, CycleGAN and the generators in `nn/unet.py` and `nn/resnet_generator.py`.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
NormName = Literal["batch", "instance"]


def instance_norm(channels: int) -> nn.Module:
    """Normalise each channel of each picture; without parameters, as nn.InstanceNorm2d.

    That class has wrong gradients at batch 1 when they arrive in channels-last order, on the CPU
    (torch 2.13): hence a group norm with one channel per group.
    """
    return nn.GroupNorm(channels, channels, affine=False)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that can use each picture's own statistics when it is not training.

    pix2pix trains at batch 1 and is therefore used with the statistics of the picture at hand
    (Isola et al. 2017, section 6.1); with running averages its pictures get visibly worse.

    Args:
        channels: C of (B, C, H, W).
        per_picture: outside of training, use the statistics of each picture of the batch.
    """

    def __init__(self, channels: int, *, per_picture: bool = False) -> None:
        super().__init__(channels)
        self.per_picture = per_picture

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if self.training or not self.per_picture:
            return super().forward(x)
        return F.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


def norm_layer(name: NormName, *, per_picture: bool = False) -> Norm:
    """Return channels → normalisation; convolutions in front have a bias only for `instance`."""
    return instance_norm if name == "instance" else partial(BatchNorm, per_picture=per_picture)


def draw_weights(network: nn.Module, std: float = 0.02) -> nn.Module:
    """Draw convolutions from N(0, std) and batch-norm gains from N(1, std); biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
