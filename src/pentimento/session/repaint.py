"""The generator as a painter."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pentimento.session.baseline import Painted, paint as _paint
from pentimento.session.document import Document
from pentimento.session.scene import Scene
from pentimento.session.view import View


class Portrait(Protocol):
    """What this package needs of a portrait generator."""

    def encode(self, image: NDArray[np.uint8], labels: Any) -> Any: ...
    def repaint(self, codes: Any, labels: Any, background: Any) -> Any: ...


class Cache(dict[Any, Any]):
    """Codes by view."""


def paint(
    scene: Scene, view: View, document: Document, donors: Any, portrait: Any, cache: Cache
) -> Painted:
    return _paint(scene)
