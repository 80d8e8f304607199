"""Factors on the learning rate as functions of `done`, the share of the run that is done, [0, 1).

A schedule has no state: the factor of a step depends on nothing but its number.
"""

from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(done: float) -> float:
    """Keep the learning rate."""
    return 1.0


def linear_decay(start: float) -> Schedule:
    """Keep the rate up to `start`, then fall linearly to 0 (CycleGAN, pix2pix: start 0.5)."""

    def factor(done: float) -> float:
        return min(1.0, (1.0 - done) / (1.0 - start))

    if not 0.0 <= start < 1.0:
        raise ValueError(f"start must be in [0, 1), got {start}")
    return factor


def poly(power: float = 0.9) -> Schedule:
    """Fall as (1 - done)^power (DeepLab, BiSeNet)."""
    return lambda done: float((1.0 - done) ** power)


def warm_up(share: float, then: Schedule = constant) -> Schedule:
    """Rise linearly over the first `share` of the run, multiplied onto another schedule."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"share must be in (0, 1), got {share}")
    return lambda done: min(1.0, max(done, 1e-3 * share) / share) * then(done)
