"""Smoothing of points over time: still where they rest, prompt where they move."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


class OneEuro:
    """The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012), for any array of coordinates.

    A low-pass filter whose cut-off rises with the speed: `minimum + slope · |speed|`. Every
    coordinate is filtered on its own; its speed is low-passed at `speed_cutoff`.

    Attributes:
        minimum: cut-off at rest in Hz; lower is stiller.
        slope: Hz of cut-off per unit of speed; higher lags less.
        speed_cutoff: cut-off of the speed's own filter in Hz.
    """

    def __init__(self, minimum: float = 1.0, slope: float = 0.2, speed_cutoff: float = 1.0):
        if minimum <= 0 or slope < 0 or speed_cutoff <= 0:
            raise ValueError("cut-offs must be positive and the slope not negative")
        self.minimum, self.slope, self.speed_cutoff = minimum, slope, speed_cutoff
        self._value: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] = np.zeros(0)
        self._time = 0.0

    def __call__(self, values: NDArray[Any], time: float) -> NDArray[np.float64]:
        """Return the smoothed values at a time.

        Args:
            values: any shape, the same at every call, such as (N, 2) points.
            time: in seconds; later than that of the call before.

        Raises:
            ValueError: time does not go on, or the shape changes (call `forget` at a cut).
        """
        values = np.asarray(values, np.float64)
        if self._value is None:
            self._value, self._speed, self._time = values, np.zeros_like(values), time
            return values.copy()
        step = time - self._time
        if step <= 0:
            raise ValueError(f"time must go on: {time} s came after {self._time} s")
        if values.shape != self._value.shape:
            raise ValueError(f"values of shape {values.shape} came after {self._value.shape}")
        speed = (values - self._value) / step
        self._speed = self._speed + _share(self.speed_cutoff, step) * (speed - self._speed)
        cutoff = self.minimum + self.slope * np.abs(self._speed)
        self._value = self._value + _share(cutoff, step) * (values - self._value)
        self._time = time
        return self._value.copy()

    def forget(self) -> None:
        """Start anew, as at a cut or when another face is followed."""
        self._value = None


def _share(cutoff: Any, step: float) -> Any:
    """Return how much of the way to the new value a first-order filter goes in `step` seconds."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
