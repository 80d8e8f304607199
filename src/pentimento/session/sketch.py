"""Previews while a brush moves: only what lies near the last stroke is painted anew.

A stroke changes a few labels, and painting is local but for slow gradients. So a sketch keeps the
last painting of the frame, and lays the new one over it where labels or their surroundings have
changed. What the person rests on is painted as a whole.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pentimento.ops.regions import falloff
from pentimento.ops.warp import Float
from pentimento.session.baseline import Painted
from pentimento.session.scene import BAND, Scene

_REACH: Final = 2 * BAND * 256
"""Units around a change in which the painting is laid anew, fading out."""


@dataclass(frozen=True, eq=False)
class _Last:
    key: Hashable
    scene: Scene
    image: Float


class Sketch:
    """The last painting of a frame, and what it was painted from."""

    def __init__(self) -> None:
        """Start with nothing painted."""
        self._last: _Last | None = None

    def paint(self, key: Hashable, scene: Scene, painter: Callable[[Scene], Painted]) -> Float:
        """Return the painted frame (S, S, 3).

        Args:
            key: names all that the scene was made from, its painted layer excepted.
            scene: what is wanted.
            painter: paints a scene.
        """
        last = self._last
        if last is None or last.key != key:
            image = painter(scene).image
        else:
            changed = (scene.target != last.scene.target) | (scene.core != last.scene.core)
            image = last.image
            if changed.any():
                share = falloff(changed, _REACH * scene.unit)
                near = share > 0
                part = replace(scene, core=scene.core & near, weight=scene.weight * near)
                image = image + share[..., None] * (painter(part).image - image)
        self._last = _Last(key, scene, np.asarray(image, np.float32))
        return self._last.image
