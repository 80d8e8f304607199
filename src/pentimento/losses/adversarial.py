"""What critics and generators pay in a GAN; scores are unbounded, one map per scale."""

from collections.abc import Sequence

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


def feature_matching(fakes: Sequence[Tensor], reals: Sequence[Tensor]) -> Tensor:
    """Return the mean absolute difference of critic features, summed over the given layers.

    The real ones are constants here (Wang et al. 2018, equation 4).
    """
    pairs = zip(fakes, reals, strict=True)
    return torch.stack([F.l1_loss(fake, real.detach()) for fake, real in pairs]).sum()
