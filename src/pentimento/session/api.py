"""The Python interface: `open`, `parse`, `see`, `edit`, `load`.

import pentimento as pt

result = pt.edit("photo.jpg").swap("hair", "other.jpg").restyle("lips", "ref.jpg", 0.6).render()
result.save("out.png")
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pentimento.files.compose import to_rgb8
from pentimento.files.pictures import open_picture
from pentimento.session.document import Document, Reshape, Restyle, Swap
from pentimento.session.editor import Editor, PainterName, Result
from pentimento.session.faces import LARGEST, Where
from pentimento.session.models import (
    bundled,
    load_finder,
    load_landmarks,
    load_parser,
    load_portrait,
)
from pentimento.structures import LabelMap, Picture

if TYPE_CHECKING:
    from pentimento.session.see import Seen

Source = str | Path | Picture
"""A picture, or the path of one."""


_parser = cache(load_parser)
_portrait = cache(load_portrait)
_landmarks = cache(load_landmarks)


def editor(parser: str | None = None, model: str | None = None) -> Editor:
    """Return a new editor over the bundled models or the named folders, which load only once.

    Raises:
        CheckpointError: a folder is no such model, or no parser weights are bundled.
    """
    has_portrait = model is not None or bundled("portrait") is not None
    return Editor(_parser(parser), _portrait(model) if has_portrait else None)


def open(path: str | Path) -> Picture:
    """Open a JPEG, PNG, WebP or TIFF picture.

    Raises:
        PictureError: it cannot be read; the message says why.
    """
    return open_picture(path)


def parse(photo: Source, where: Where = LARGEST, *, parser: str | None = None) -> LabelMap:
    """Return the classes of every pixel of a photo, background beyond the face's square.

    Args:
        photo: a picture or its path.
        where: which face; the largest by default.
        parser: folder of a face parser; the bundled one by default.

    Raises:
        FaceError: no face was found; the message says how to point at it.
    """
    seer = editor(parser)
    return seer.view(seer.assets.keep(photo), where).label_map


def see(
    photo: Source,
    *,
    finder: str | None = None,
    landmarks: str | None = None,
    threshold: float | None = None,
) -> "Seen":
    """Return every face of a photo, from 16 pixels up, the largest first.

    Args:
        photo: a picture or its path.
        finder: folder of a face finder; the bundled one by default.
        landmarks: folder of a 68-point landmark model; the bundled one by default, if there is one.
        threshold: least score of a face, 0 to 1.

    Raises:
        PictureError: the photo cannot be read; the message says why.
        CheckpointError: a folder is no such model.
    """
    from pentimento.session.detect import THRESHOLD
    from pentimento.session.see import see_faces

    picture = photo if isinstance(photo, Picture) else open_picture(photo)
    has_landmarks = landmarks is not None or bundled("landmarks") is not None
    return see_faces(
        to_rgb8(picture),
        picture.name,
        load_finder(finder),
        _landmarks(landmarks) if has_landmarks else None,
        THRESHOLD if threshold is None else threshold,
    )


def edit(
    photo: Source,
    where: Where = LARGEST,
    *,
    model: str | None = None,
    parser: str | None = None,
    painter: PainterName = "generator",
) -> "Edit":
    """Start an edit of a photo; nothing is computed before `render`.

    Args:
        photo: a picture or its path.
        where: which face; the largest by default.
        model: folder of a portrait generator; the bundled one by default.
        parser: folder of a face parser; the bundled one by default.
        painter: `generator`, `baseline` (no model) or `paste` (no blending).
    """
    seer = editor(parser, model)
    return Edit(seer, Document(seer.assets.keep(photo), where), painter)


def load(folder: str | Path) -> Any:
    """Load a model or run folder as the system it describes.

    Raises:
        CheckpointError: the folder holds no intact model.
    """
    from pentimento import models

    return models.load(folder)


@dataclass(frozen=True)
class Edit:
    """An edit being put together; each step returns a new one, so any can be kept and rendered.

    Attributes:
        editor: models and cached views.
        document: photo and commands, replayable and JSON-serialisable.
        painter: who paints.
    """

    editor: Editor
    document: Document
    painter: PainterName = "generator"

    def reshape(self, mask: LabelMap | str | Path) -> "Edit":
        """Paint every pixel whose class differs from the parse as its new class."""
        return self._then(Reshape(self.editor.assets.keep(mask)))

    def swap(self, region: str, other: Source, where: Where = LARGEST) -> "Edit":
        """Take shape and look of a region (`labels.REGIONS`) from another picture."""
        return self._then(Swap(region, self.editor.assets.keep(other), where))

    def restyle(
        self, region: str, reference: Source, amount: float = 1.0, where: Where = LARGEST
    ) -> "Edit":
        """Take the look of a region from a reference, the shape stays; `amount` from 0 to 1."""
        return self._then(Restyle(region, self.editor.assets.keep(reference), amount, where))

    def render(self) -> Result:
        """Compute the edited picture.

        Raises:
            PentimentoError: a file, face or mask is not as needed; the message says what to do.
        """
        return self.editor.render(self.document, self.painter)

    def _then(self, command: Reshape | Swap | Restyle) -> "Edit":
        return replace(self, document=self.document.then(command))
