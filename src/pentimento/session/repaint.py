"""The generator as a painter: a small network gives colour and shading, the pictures give detail.

Once per face the portrait generator encodes the crop and paints it back (`before`); for an edit it
paints the wanted labels with the mixed codes (`after`). What it gets wrong in `before` it gets
wrong in `after` too, so only the difference is used where something was there already, and where
something is new its low frequencies are used, corrected by the error it makes nearby.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.ops.regions import Labels, grow, resized, shrunk
from pentimento.session.baseline import Note, Painted, Tone, paint
from pentimento.session.document import Document, Restyle, Swap
from pentimento.session.faces import Where
from pentimento.session.scene import PAINTED, Scene
from pentimento.session.view import View
from pentimento.structures import LabelMap

_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "skin": ("skin",),
    "eyes": ("left_eye", "right_eye"),
    "left_eye": ("left_eye",),
    "right_eye": ("right_eye",),
    "mouth": ("mouth",),
    "lips": ("mouth",),
    "hair": ("hair",),
}
"""Region → codes that are exchanged. Nose, brows and ears share the skin's code and keep it."""
_SKIN, *_BROWS = CELEBAMASK19.values("skin", "l_brow", "r_brow")
_RIM: Final = 3 / 256
"""How far hairs reach beyond a brow's mask, as a share of the face's square."""


class Codes(Protocol):
    """The parts of one face, as a portrait generator encodes them."""

    def mix(self, part: str, other: Any, amount: float) -> Any:
        """Return these codes with a part moved towards another face's."""
        ...


class Portrait(Protocol):
    """What this package needs of a portrait generator (`systems.generate.portrait`)."""

    config: Any

    def encode(self, image: NDArray[np.uint8], labels: LabelMap) -> Any:
        """Return the codes of an aligned face (S, S, 3)."""
        ...

    def repaint(
        self,
        codes: Any,
        labels: LabelMap,
        background: NDArray[np.uint8],
        background_labels: LabelMap | None = None,
    ) -> NDArray[np.uint8]:
        """Return (S, S, 3) painted from codes where the labels want it."""
        ...


class Repainter:
    """A portrait generator with the codes and reconstructions it has made, per view."""

    def __init__(self, portrait: Portrait) -> None:
        """Take the generator."""
        self.portrait = portrait
        self.size = int(portrait.config.size)
        self._codes: dict[View, Any] = {}
        self._before: dict[View, NDArray[np.uint8]] = {}
        # The networks run beside what is painted before their tone is asked for.
        self._beside = ThreadPoolExecutor(1, "generator")

    def forget(self, view: View) -> None:
        """Drop what was computed for a view."""
        self._codes.pop(view, None)
        self._before.pop(view, None)

    def codes(self, view: View) -> Any:
        """Return the codes of a face, encoding it on first use."""
        if view not in self._codes:
            labels = _without_rims(view.aligned_labels(self.size), self.size)
            self._codes[view] = self.portrait.encode(self._crop(view), labels)
        return self._codes[view]

    def before(self, view: View) -> NDArray[np.uint8]:
        """Return the generator's reconstruction of the unedited face (S, S, 3)."""
        if view not in self._before:
            self._before[view] = self.portrait.repaint(
                self.codes(view), self._labels(view), self._crop(view)
            )
        return self._before[view]

    def after(self, view: View, codes: Any, scene: Scene) -> NDArray[np.uint8]:
        """Return the generator's picture (S, S, 3) of what the scene wants."""
        inner = round(scene.side / view.zoom)
        start = (scene.side - inner) // 2
        window = slice(start, start + inner)
        target = scene.target[window, window]
        changed = target != scene.labels[window, window]
        if not changed.any() and codes is self.codes(view):
            return self.before(view)
        wanted = view.aligned_labels(self.size).copy()
        moved = shrunk(changed, self.size)
        classes = np.unique(target[grow(changed, 2 * scene.unit)])
        wanted[moved] = resized(target, self.size, classes)[moved]
        return self.portrait.repaint(codes, LabelMap(wanted), self._crop(view), self._labels(view))

    def _crop(self, view: View) -> NDArray[np.uint8]:
        return view.aligned_crop(self.size)

    def _labels(self, view: View) -> LabelMap:
        return LabelMap(view.aligned_labels(self.size))

    def paint(
        self,
        scene: Scene,
        view: View,
        document: Document,
        donors: Mapping[tuple[str, Where], View],
        note: Note = lambda stage: None,
    ) -> Painted:
        """Paint a scene with the generator's tone.

        Args:
            scene: what is wanted.
            view: the edited face.
            document: the commands that made the scene: they say whose codes are mixed in.
            donors: (name, where) of each command → the face it names.
            note: called as the work goes on; whatever it raises ends it.
        """

        def tone() -> Tone:
            after = self.after(view, self._mixed(view, document, donors), scene)
            return _in_frame(self.before(view), after, scene.side, view.zoom)

        new = (scene.target != scene.labels) & np.isin(scene.target, PAINTED)
        if not (scene.core & new).any():
            return paint(scene, tone, note)  # most likely nobody asks
        return paint(scene, self._beside.submit(tone).result, note)

    def _mixed(
        self, view: View, document: Document, donors: Mapping[tuple[str, Where], View]
    ) -> Any:
        """Return the face's codes with what the commands take from others'."""
        codes = self.codes(view)
        for command in document.commands:
            if not isinstance(command, Swap | Restyle):
                continue
            name = command.other if isinstance(command, Swap) else command.reference
            for part in _PARTS.get(command.region, ()):
                codes = codes.mix(part, self.codes(donors[name, command.where]), command.amount)
        return codes


def _without_rims(labels: Labels, size: int) -> LabelMap:
    """Return a face's labels in which the skin about the brows is unknown.

    Masks outline what is dense. The hairs about it, left in the skin, would draw the old outline of
    a brow that has gone.
    """
    sure = labels.copy()
    for brow in _BROWS:
        sure[grow(labels == brow, _RIM * size) & (labels == _SKIN)] = IGNORE
    return LabelMap(sure)


def _in_frame(before: NDArray[np.uint8], after: NDArray[np.uint8], side: int, zoom: float) -> Tone:
    """Lay the generator's pictures of the face's square into the frame."""
    inner = round(side / zoom)
    start = (side - inner) // 2
    window = slice(start, start + inner)
    pictures = []
    for picture in (before, after):
        frame = np.zeros((side, side, 3), np.float32)
        frame[window, window] = cv2.resize(
            picture.astype(np.float32), (inner, inner), interpolation=cv2.INTER_CUBIC
        )
        pictures.append(frame)
    known = np.zeros((side, side), np.bool_)
    edge = start + inner // 64  # the outermost pixels of a generator are its worst
    known[edge : side - edge, edge : side - edge] = True
    return Tone(pictures[0], pictures[1], known)
