"""The editor: sees each picture once, then renders any number of documents.

`render` is: find and parse the face (cached) → lay the commands on the parse (`session.scene`) →
paint (`session.baseline`, `session.repaint`) → bring the result back into the photo. Pixels of the
photo outside the blend band keep their bytes.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pentimento.errors import PentimentoError
from pentimento.files.compose import composite, to_rgb8
from pentimento.files.masks import open_mask, save_mask
from pentimento.files.pictures import open_picture, save_picture
from pentimento.labels import IGNORE, REGIONS
from pentimento.ops.blend import grain, grain_level
from pentimento.ops.regions import Labels, falloff, grow
from pentimento.ops.warp import Float, bounds, put
from pentimento.session.baseline import Note, Painted, paint, paste
from pentimento.session.document import (
    Command,
    Document,
    Mirror,
    Paint,
    Reshape,
    Restyle,
    Swap,
)
from pentimento.session.faces import LARGEST, Face, Parser, Where, find_faces
from pentimento.session.repaint import Portrait, Repainter
from pentimento.session.scene import BAND, HALO, VALUE, Donor, Scene, SceneBuilder, fitted
from pentimento.session.sketch import Sketch
from pentimento.session.view import View, place, see
from pentimento.structures import LabelMap, Picture

PainterName = Literal["generator", "baseline", "paste"]
_SIDES: Final = (320, 1280)
"""Smallest and largest side, in pixels, of the frame that is painted in."""


@dataclass
class Assets:
    """Pictures and masks by name; an unknown name is a path, read once.

    Attributes:
        pictures: name → picture.
        masks: name → label map.
    """

    pictures: dict[str, Picture] = field(default_factory=dict)
    masks: dict[str, LabelMap] = field(default_factory=dict)

    def picture(self, name: str) -> Picture:
        """Return a picture, reading it on first use."""
        if name not in self.pictures:
            self.pictures[name] = open_picture(name)
        return self.pictures[name]

    def mask(self, name: str) -> LabelMap:
        """Return a mask, reading it on first use."""
        if name not in self.masks:
            self.masks[name] = open_mask(name)
        return self.masks[name]

    def keep(self, thing: Picture | LabelMap | str | Path) -> str:
        """Return the name under which a thing is found again; a path is its own name."""
        if isinstance(thing, (str, Path)):
            return str(thing)
        if isinstance(thing, Picture):
            name = f"{thing.name}#{_digest(thing.pixels)}"
            self.pictures[name] = thing
        else:
            name = f"mask#{_digest(thing.values)}"
            self.masks[name] = thing
        return name


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[:16]


@dataclass(frozen=True)
class Result:
    """A rendered edit.

    Attributes:
        picture: the edited picture; the very source object if nothing changed.
        mask: the photo-sized label map after the edit.
        weight: (H, W) float32, how much each pixel was repainted; 0 means byte-equal.
        timings: stage → seconds.
        notices: what the person should know.
        document: what was rendered.
        painter: who painted.
        side: side of the face's square in photo pixels.
    """

    picture: Picture
    mask: LabelMap
    weight: Float
    timings: Mapping[str, float]
    notices: tuple[str, ...]
    document: Document
    painter: PainterName
    side: float

    @property
    def painted(self) -> int:
        """Number of pixels that may differ from the source."""
        return int(np.count_nonzero(self.weight))

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """(left, top, right, bottom) around those pixels, None if there are none."""
        rows = np.flatnonzero(self.weight.any(axis=1))
        columns = np.flatnonzero(self.weight.any(axis=0))
        if not len(rows):
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def save(self, path: str | Path) -> None:
        """Save the picture; bytes outside the edit survive where the format allows it.

        Raises:
            PictureError: it cannot be written; what was at `path` is unchanged.
        """
        photo = Path(self.document.photo)
        save_picture(self.picture, path, source=photo if photo.is_file() else None)

    def save_mask(self, path: str | Path) -> None:
        """Save the label map after the edit as indexed PNG."""
        save_mask(self.mask, path)


@dataclass(frozen=True)
class Preview:
    """A rendered edit in the face's frame.

    Attributes:
        image: (P, P, 3) uint8.
        weight: (P, P) uint8, how much of the image shows; 0 means the photo stays.
        labels: (P, P) after the edit.
    """

    image: NDArray[np.uint8]
    weight: NDArray[np.uint8]
    labels: Labels


class Editor:
    """Models and the views they have computed.

    Attributes:
        parser: sees faces.
        portrait: repaints them, or None while there is no generator.
    """

    def __init__(self, parser: Parser, portrait: Portrait | None = None) -> None:
        """Take the models; nothing is computed yet."""
        self.parser = parser
        self.portrait = portrait
        self.assets = Assets()
        self._views: dict[tuple[str, Where], View] = {}
        self._faces: dict[str, list[Face]] = {}
        self._sketch = Sketch()
        self._repainter = Repainter(portrait) if portrait is not None else None

    def faces(self, name: str) -> list[Face]:
        """Return the faces of a picture, the largest first, finding them on first use.

        Raises:
            PictureError: the picture cannot be read.
        """
        if name not in self._faces:
            self._faces[name] = find_faces(to_rgb8(self.assets.picture(name)), self.parser)
        return self._faces[name]

    def forget(self, name: str) -> None:
        """Drop a picture or mask and all that was computed from it."""
        self.assets.pictures.pop(name, None)
        self.assets.masks.pop(name, None)
        self._faces.pop(name, None)
        for key in [key for key in self._views if key[0] == name]:
            view = self._views.pop(key)
            if self._repainter is not None:
                self._repainter.forget(view)

    def view(self, name: str, where: Where = LARGEST) -> View:
        """Return the parsed face of a picture, computing it on first use.

        Raises:
            PictureError: the picture cannot be read.
            FaceError: there is no such face.
        """
        key = (name, where)
        if key not in self._views:
            picture = self.assets.picture(name)
            found = self._faces.get(name)
            self._views[key] = see(picture, to_rgb8(picture), self.parser, where, found)
        return self._views[key]

    def render(
        self,
        document: Document,
        painter: PainterName = "generator",
        note: Note = lambda stage: None,
    ) -> Result:
        """Render a document.

        Args:
            document: the edit.
            painter: `generator`, or without a model `baseline` or `paste`.
            note: called with the name of the stage, again and again: what it raises ends the work.

        Raises:
            PentimentoError: a file, face or mask is not as needed; the message says what to do.
        """
        if painter not in get_args(PainterName):
            raise PentimentoError(
                f"no painter is called {painter!r}; there are {', '.join(get_args(PainterName))}"
            )
        notices: list[str] = []
        timings: dict[str, float] = {}

        @contextmanager
        def stage(name: str) -> Iterator[None]:
            note(name)
            start = time.perf_counter()
            yield
            timings[name] = timings.get(name, 0.0) + time.perf_counter() - start

        with stage("open"):
            for name in document.pictures():
                self.assets.picture(name)
            for name in document.masks():
                self.assets.mask(name)
        with stage("see"):
            view = self.view(document.photo, document.where)
            for command in document.commands:
                if isinstance(command, Swap):
                    self.view(command.other, command.where)
                elif isinstance(command, Restyle):
                    self.view(command.reference, command.where)
        with stage("plan"):
            scene = self._scene(document, view, working_side(view), notices)
        if painter == "generator" and self._repainter is None:
            painter = "baseline"
            notices.append(
                "no portrait weights are bundled yet: painted by the non-parametric baseline. "
                "Name a trained model with --model to use the generator."
            )
        with stage("paint"):
            painted = self._paint(document, scene, view, painter, note)
        with stage("compose"):
            picture, weight = _composed(painted, scene, view)
            mask = _edited_mask(scene, view, self._photo_masks(document, view))
        return Result(
            picture, mask, weight, timings, tuple(notices), document, painter, view.face.side
        )

    def preview(
        self,
        document: Document,
        side: int | None = None,
        note: Note = lambda stage: None,
    ) -> "Preview":
        """Render a document in the face's frame alone; the photo around it is not touched.

        Args:
            document: the edit.
            side: of the frame to answer in; by default the size of the generator's own picture,
                and then only what lies near the last change is painted anew (`session.sketch`).
            note: called with the name of the stage, again and again: what it raises ends the work.

        Raises:
            PentimentoError: as `render`.
        """
        note("see")
        view = self.view(document.photo, document.where)
        note("plan")
        size = 256 if self._repainter is None else self._repainter.size
        asked = side or 8 * round(size * view.zoom / 8)
        scene = self._scene(document, view, asked, [])
        note("paint")

        def painter(part: Scene) -> Painted:
            return self._paint(document, part, view, "generator", note)

        if side is None:
            bare = tuple(c for c in document.commands if not isinstance(c, Paint))
            painted = self._sketch.paint((document.photo, document.where, bare), scene, painter)
        else:
            painted = painter(scene).image
        image = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
        weight = np.rint(255 * scene.weight).astype(np.uint8)
        return Preview(image, weight, scene.target)

    def beneath(self, document: Document) -> Labels:
        """Return the labels (S, S) of the frame at its working side, before anything is painted."""
        bare = tuple(c for c in document.commands if not isinstance(c, Paint))
        view = self.view(document.photo, document.where)
        return self._scene(replace(document, commands=bare), view, working_side(view), []).target

    def _scene(self, document: Document, view: View, side: int, notices: list[str]) -> Scene:
        labels = view.labels(side)
        builder = SceneBuilder(view.crop(side), labels, side / view.zoom / 256)
        donors: dict[tuple[str, Where], Donor] = {}

        def donor(name: str, where: Where) -> Donor:
            key = (name, where)
            if key not in donors:
                other = self.view(name, where)
                image, parts = other.fitting(side, view.zoom)
                donors[key] = fitted(image, parts, labels, other.picture.name)
            return donors[key]

        for command in sorted(document.commands, key=_rank):
            if isinstance(command, Swap):
                if command.amount > 0:
                    found = donor(command.other, command.where)
                    builder.swap(command.region, found, command.amount)
            elif isinstance(command, Mirror):
                builder.mirror(command.region)
            elif isinstance(command, Restyle):
                found = donor(command.reference, command.where)
                builder.restyle(command.region, found, command.amount)
            elif isinstance(command, Paint):
                layer = self.assets.mask(command.layer)
                builder.paint(*view.painted(layer, command.layer, side))
            else:
                wanted, changed, outside = view.edited(
                    self.assets.mask(command.mask), command.mask, side
                )
                if outside:
                    notices.append(
                        f"{outside} changed pixels of {command.mask} lie outside the face's "
                        "frame and were left alone"
                    )
                builder.reshape(wanted, changed)
        return builder.build()

    def _photo_masks(self, document: Document, view: View) -> list[Labels]:
        """Return the masks of the document that have the photo's own size."""
        masks = [self.assets.mask(c.mask) for c in document.commands if isinstance(c, Reshape)]
        labels = [mask.remap(view.label_map.labels).values for mask in masks]
        return [values for values in labels if values.shape == view.rgb.shape[:2]]

    def _paint(
        self, document: Document, scene: Scene, view: View, painter: PainterName, note: Note
    ) -> Painted:
        if painter == "paste":
            return paste(scene)
        if painter == "baseline" or self._repainter is None or not scene.core.any():
            painted = paint(scene, note=note)
        else:
            painted = self._repainter.paint(scene, view, document, self._views, note)
        return _faded(painted, scene)


def working_side(view: View) -> int:
    """Return the side, in pixels, of the frame that a face is painted in."""
    return int(np.clip(8 * round(view.zoom * view.face.side / 8), *_SIDES))


def _faded(painted: Painted, scene: Scene) -> Painted:
    """Let the source show through parts of another's that the face has nothing like."""
    if not scene.faint:
        return painted
    opacity = np.ones(scene.labels.shape, np.float32)
    for value, amount in scene.faint.items():
        region = (scene.labels == value) | (scene.target == value)
        reach = falloff(grow(region, HALO * scene.unit), BAND * 256 * scene.unit)
        opacity = np.minimum(opacity, 1 - (1 - amount) * reach)
    image = scene.image + opacity[..., None] * (painted.image - scene.image)
    return Painted(image, np.asarray(1 - opacity * (1 - painted.keep), np.float32))


def _composed(painted: Painted, scene: Scene, view: View) -> tuple[Picture, Float]:
    """Return the photo with the painting in it, and the weight of every pixel (H, W)."""
    weight = np.zeros(view.rgb.shape[:2], np.float32)
    colours, share, (left, top, right, bottom) = place(
        painted.image, scene.image, painted.keep, scene.weight, view
    )
    if not share.any():
        return view.picture, weight
    window = (slice(top, bottom), slice(left, right))
    replaced = np.clip(
        1 - put(painted.keep, view.matrix(scene.side), (left, top, right, bottom), linear=True),
        0,
        1,
    )
    inside = (share > 0.5) & (replaced > 0.5)
    under = view.rgb[window].astype(np.float32)
    if inside.any():  # the photo's grain goes on where the painting is smoother than the photo
        around = (share < 0.02) | (replaced < 0.1)
        labels = view.label_map.values[window]
        kinds = np.bincount(labels[inside], minlength=256) >= 0.1 * inside.sum()
        kinds[[VALUE["hair"], VALUE["hat"]]] = False  # texture is no grain
        around &= kinds[labels]
        have, want = grain_level(colours, inside), grain_level(under, around)
        missing = float(np.sqrt(max(0.0, want**2 - have**2)))
        if missing > 0.2:
            colours = colours + (replaced * grain(share.shape, missing, seed=0))[..., None]
    weight[window] = share
    full = np.zeros((*weight.shape, 3), np.float32)
    full[window] = np.clip(colours, 0, 255)
    picture = composite(view.picture, full, weight)
    if np.array_equal(picture.pixels, view.picture.pixels):
        return view.picture, weight
    return picture, weight


def _rank(command: Command) -> tuple[int, int]:
    """Return the order in which commands are laid on: it does not depend on the order given."""
    if isinstance(command, Reshape):
        return 2, 0
    if isinstance(command, Paint):
        return 3, 0
    return int(isinstance(command, Restyle)), list(REGIONS).index(command.region)


def _edited_mask(scene: Scene, view: View, given: list[Labels]) -> LabelMap:
    """Return the photo-sized label map after the edit; `given` masks keep their own pixels."""
    changed = scene.target != scene.labels
    if not changed.any():
        return view.label_map
    values: Labels = view.label_map.values.copy()
    height, width = values.shape
    matrix = view.matrix(scene.side)
    box = bounds(matrix, scene.side, height, width)
    left, top, right, bottom = box
    # A little more than what changed: the photo's own parse and the frame's differ by a pixel.
    near = grow(changed, 3 * scene.unit)
    best = put((~near).astype(np.float32), matrix, box, linear=True)
    part = values[top:bottom, left:right]
    for value in np.unique(scene.target[near]):
        cover = put((near & (scene.target == value)).astype(np.float32), matrix, box, linear=True)
        wins = cover > best
        best[wins], part[wins] = cover[wins], value
    for mask in given:
        asked = (mask != view.label_map.values) & (mask != IGNORE)
        asked[:top] = asked[bottom:] = asked[:, :left] = asked[:, right:] = False
        values[asked] = mask[asked]
    return LabelMap(values)
