"""What runs in the model's own process: decode, see, preview, render.

Jobs come one at a time over a pipe, and answers go back over it: data, never code. Between the
stages of a job the process looks whether it is still wanted. It owns nothing: documents lie on
disk, and if it dies another one starts and sees the picture anew.
"""

import ctypes
import json
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image

from pentimento.errors import PentimentoError, PictureError
from pentimento.files.compose import to_rgb8
from pentimento.files.marks import marked
from pentimento.files.masks import open_mask
from pentimento.files.metadata import without_position
from pentimento.files.pictures import Limits, open_picture, save_picture
from pentimento.labels import IGNORE
from pentimento.ops.regions import Labels
from pentimento.session.api import editor
from pentimento.session.document import Document, Paint
from pentimento.session.editor import working_side
from pentimento.session.journal import asset_path, keep, shown_path

LIMITS: Final = Limits(file_bytes=64 * 2**20, pixels=60_000_000)
"""What the page takes: a browser holds every pixel of it several times."""

Note = Callable[[str], None]
Payload = dict[str, Any]
_SUFFIX: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}
_KEPT: Final = (4, 6)  # pictures and layers that stay in memory
_FINE: Final = 720  # px, most that the second, finer preview is painted at


class StoppedError(Exception):
    """The job is no longer wanted."""


@dataclass(frozen=True)
class Answer:
    """What a job gives back.

    Attributes:
        facts: plain values.
        data: bytes, if any.
    """

    facts: dict[str, Any]
    data: bytes = b""


def serve(pipe: Connection, stop_before: ctypes.c_longlong, model: str | None) -> None:
    """Answer jobs until the pipe closes.

    Args:
        pipe: takes (number, kind, payload); gives (number, "stage" | "done" | "failed", value).
        stop_before: jobs with this number or a smaller one shall end.
        model: folder of a portrait generator, None for the bundled one.
    """
    import torch  # the server imports this module too, and needs none

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    # A repaint is hundreds of small pieces. Threads that wait for each other at each of them lose
    # more than they gain, and seconds as soon as somebody else wants a core.
    cv2.setNumThreads(1)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))  # a core is the browser's
    try:
        desk: _Desk | PentimentoError = _Desk(model)
    except PentimentoError as error:
        desk = error
    while True:
        try:
            number, kind, payload = pipe.recv()
        except EOFError:
            return

        def note(stage: str, number: int = number) -> None:
            if stop_before.value >= number:
                raise StoppedError
            pipe.send((number, "stage", stage))

        try:
            note("start")
            if isinstance(desk, PentimentoError):
                raise desk
            pipe.send((number, "done", desk.do(kind, payload, note)))
        except StoppedError:
            pipe.send((number, "stopped", ""))
        except PentimentoError as error:
            pipe.send((number, "failed", str(error)))
        except MemoryError:
            pipe.send((number, "failed", "there is not enough memory for a picture of this size"))


class _Desk:
    """The editor and what it was told about the pictures that it holds."""

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._editor = editor(model=model)
        self._jobs: dict[str, Callable[[Payload, Note], Answer]] = {
            "admit": self._admit,
            "faces": self._faces,
            "frame": self._frame,
            "preview": self._preview,
            "render": self._render,
        }

    def do(self, kind: str, payload: Payload, note: Note) -> Answer:
        return self._jobs[kind](payload, note)

    def _admit(self, payload: Payload, note: Note) -> Answer:
        """Take in an uploaded picture: check it, leave its position behind, make its shown form."""
        note("decode")
        folder = Path(payload["folder"])
        data = Path(payload["file"]).read_bytes()
        try:
            picture = open_picture(data, limits=LIMITS)
        except PictureError as error:
            said = str(error).removeprefix("picture")
            raise PictureError(f"{payload['name']}{said}") from error
        assert picture.format is not None
        suffix = _SUFFIX[picture.format]
        clean = without_position(data, picture.format)
        if clean is None:
            with TemporaryDirectory() as scratch:
                file = Path(scratch) / f"clean{suffix}"
                save_picture(picture, file)
                clean = file.read_bytes()
        key = keep(folder, "picture", clean, suffix)
        note("show")
        shown = BytesIO()
        Image.fromarray(to_rgb8(picture)).save(shown, "PNG", compress_level=1)
        shown_path(folder, key).write_bytes(shown.getvalue())
        self._hold(key, replace(picture, name=payload["name"]))
        facts = {"key": key, "width": picture.width, "height": picture.height}
        return Answer({**facts, "format": picture.format})

    def _faces(self, payload: Payload, note: Note) -> Answer:
        """Find the faces of a picture."""
        note("faces")
        self._need(payload, [payload["key"]])
        faces = self._editor.faces(payload["key"])
        return Answer({"faces": [np.round(face.quad, 2).tolist() for face in faces]})

    def _frame(self, payload: Payload, note: Note) -> Answer:
        """See the face of a document: the frame's geometry, its labels, its painted layer."""
        document = self._document(payload)
        note("see")
        view = self._editor.view(document.photo, document.where)
        side = working_side(view)
        note("regions")
        beneath = self._editor.beneath(document)
        layer: Labels = np.full((side, side), IGNORE, np.uint8)
        for command in document.commands:
            if isinstance(command, Paint):
                layer = view.painted(self._editor.assets.mask(command.layer), "layer", side)[0]
        facts = {
            "side": side,
            "matrix": view.matrix(side).tolist(),
            "quad": np.round(view.face.quad, 2).tolist(),
        }
        return Answer(facts, beneath.tobytes() + np.ascontiguousarray(layer).tobytes())

    def _preview(self, payload: Payload, note: Note) -> Answer:
        """Paint the face's frame: RGBA, the opacity being how much of it replaces the photo."""
        document = self._document(payload)
        view = self._editor.view(document.photo, document.where)
        side = min(_FINE, working_side(view)) if payload["fine"] else None
        seen = self._editor.preview(document, side, note)
        rgba = np.dstack([seen.image, seen.weight])
        return Answer({"side": len(rgba)}, rgba.tobytes())

    def _render(self, payload: Payload, note: Note) -> Answer:
        """Compose the full-size picture and save it, or its mask."""
        document = self._document(payload)
        result = self._editor.render(document, note=note)
        note("save")
        source = asset_path(Path(payload["folder"]), document.photo)
        with TemporaryDirectory() as scratch:
            if payload["what"] == "mask":
                file = Path(scratch) / "mask.png"
                result.save_mask(file)
                return Answer({"suffix": ".png"}, file.read_bytes())
            suffix = ".png" if payload["what"] == "png" else source.suffix
            file = Path(scratch) / f"picture{suffix}"
            written = save_picture(result.picture, file, source=source)
            data = file.read_bytes()
        if written != "copied":
            data = marked(data, _recipe(document) if payload["recipe"] else None)
        return Answer({"suffix": suffix, "notices": list(result.notices)}, data)

    def _document(self, payload: Payload) -> Document:
        """Return the payload's document, its pictures and layers being at hand."""
        document = Document.from_json(payload["document"])
        for key in document.masks():
            self._lay(payload, key)
        self._need(payload, document.pictures())
        return document

    def _need(self, payload: Payload, keys: Iterable[str]) -> None:
        for key in keys:
            if key not in self._editor.assets.pictures:
                picture = open_picture(asset_path(Path(payload["folder"]), key), limits=LIMITS)
                self._hold(key, replace(picture, name=payload["names"].get(key, "picture")))

    def _hold(self, key: str, picture: Any) -> None:
        held = self._editor.assets.pictures
        held[key] = picture
        for old in list(held)[: -_KEPT[0]]:
            self._editor.forget(old)

    def _lay(self, payload: Payload, key: str) -> None:
        held = self._editor.assets.masks
        if payload.get("layer") is not None:
            held.pop(key, None)  # a draft is always the newest
            held[key] = payload["layer"]
        elif key not in held:
            held[key] = open_mask(asset_path(Path(payload["folder"]), key))
        for old in list(held)[: -_KEPT[1]]:
            self._editor.forget(old)


def _recipe(document: Document) -> str:
    """Return what was done as JSON; pictures are named by the hash of their content alone."""
    return json.dumps({"pentimento": json.loads(document.to_json())}, separators=(",", ":"))
