"""What critics and generators pay in a GAN; scores are unbounded, one map per scale."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(scores: Sequence[Tensor], real: bool) -> Tensor:
    """Return the binary cross-entropy of scores that ought to say `real`.

    Each scale is averaged over its patches, the scales are summed (Goodfellow et al. 2014, with
    the non-saturating generator loss when asked for `real` of a fake).
    """
    sign = -1.0 if real else 1.0
    return torch.stack([F.softplus(sign * s).mean() for s in scores]).sum()


def least_squares(scores: Sequence[Tensor], real: bool) -> Tensor:
    """Return the mean squared distance of scores from 1 (`real`) or 0 (Mao et al. 2017).

    Scales are summed.
    """
    return torch.stack([(s - float(real)).square().mean() for s in scores]).sum()


def wasserstein(scores: Sequence[Tensor], real: bool) -> Tensor:
    """Return the mean score with the sign that training lowers (Arjovsky et al. 2017)."""
    sign = -1.0 if real else 1.0
    return torch.stack([sign * s.mean() for s in scores]).sum()


def hinge(scores: Sequence[Tensor], real: bool) -> Tensor:
    """Return how far scores fall short of 1 (`real`) or exceed -1 (Lim & Ye 2017).

    What a critic pays; its opponent pays `wasserstein`. Scales are summed.
    """
    sign = -1.0 if real else 1.0
    return torch.stack([F.relu(1 + sign * s).mean() for s in scores]).sum()


GanLoss = Literal["vanilla", "lsgan", "wgangp"]

GAN_LOSSES: Final[Mapping[GanLoss, Callable[[Sequence[Tensor], bool], Tensor]]] = {
    "vanilla": cross_entropy,
    "lsgan": least_squares,
    "wgangp": wasserstein,
}


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Return how far the slope of a critic is from 1 between pictures (Gulrajani et al. 2017).

    Args:
        critic: (B, C, H, W) → scores.
        real: (B, C, H, W).
        fake: the same; a constant here.

    Returns:
        The mean over the batch of (slope - 1)²; the caller weighs it (10 in the paper).
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(fake.detach(), real, share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    # A root at exactly 0 has no finite derivative.
    norms = (slope.flatten(1).square().sum(1) + 1e-12).sqrt()
    return (norms - 1).square().mean()


def feature_matching(fakes: Sequence[Tensor], reals: Sequence[Tensor]) -> Tensor:
    """Return the mean absolute difference of critic features, summed over the given layers.

    The real ones are constants here (Wang et al. 2018, equation 4).
    """
    pairs = zip(fakes, reals, strict=True)
    return torch.stack([F.l1_loss(fake, real.detach()) for fake, real in pairs]).sum()
