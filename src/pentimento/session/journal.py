"""A document on disk: one folder of data, complete after every step, and the same as one zip.

    journal.json          history, name, pictures; replaced atomically at every step
    picture-HASH.jpg …    pictures as they came, without any position
    layer-HASH.png        painted layers
    shown-HASH.png        a picture as it is shown: upright, 8-bit sRGB; can be made again

Files are named by what they hold, so a name is never taken from outside, and none is ever written
twice with another content. A project file is a zip of exactly these.
"""

import hashlib
import json
import math
import re
import zipfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from pentimento.errors import PentimentoError
from pentimento.files.atomic import write_atomically
from pentimento.files.masks import mask_png
from pentimento.labels import IGNORE
from pentimento.session.document import Document
from pentimento.session.history import History
from pentimento.structures import LabelMap

FORMAT: Final = 1
_STATE: Final = "journal.json"
_KEY: Final = re.compile(r"(picture-[0-9a-f]{32}\.(jpg|png|webp|tif)|layer-[0-9a-f]{32}\.png)")
_ENTRIES: Final = 1200
_UNPACKED: Final = 768 * 2**20
_STAMP: Final = (2000, 1, 1, 0, 0, 0)  # a project's bytes depend on nothing but its content


@dataclass(frozen=True)
class Journal:
    """The state of a document and the folder that holds it.

    Attributes:
        folder: where the files are.
        name: what the person calls the document: the photo's own name.
        history: all states.
        pictures: key → name of every picture that was brought in, the photo first.
    """

    folder: Path
    name: str
    history: History
    pictures: dict[str, str]

    @property
    def current(self) -> Document:
        """The state that is shown."""
        return self.history.current

    def path(self, key: str) -> Path:
        """Return where the file of a key lies: the one place where a name becomes a path.

        Raises:
            PentimentoError: this is no key.
        """
        return asset_path(self.folder, key)

    def written(self, history: History) -> "Journal":
        """Return the journal with another history, after it has reached the disk."""
        return self._saved(replace(self, history=history))

    def with_picture(self, key: str, name: str) -> "Journal":
        """Return the journal with one more picture, after it has reached the disk."""
        return self._saved(replace(self, pictures={**self.pictures, key: name}))

    def saved(self) -> "Journal":
        """Write the state; return the journal."""
        return self._saved(self)

    @staticmethod
    def _saved(journal: "Journal") -> "Journal":
        write_atomically(journal.folder / _STATE, journal._state().encode(), PentimentoError)
        return journal

    def _state(self) -> str:
        state = {
            "format": FORMAT,
            "name": self.name,
            "pictures": self.pictures,
            "history": json.loads(self.history.to_json()),
        }
        return json.dumps(state, indent=1) + "\n"

    def sweep(self) -> None:
        """Delete the layers that no state uses any more."""
        used = _used(self.history)
        for file in self.folder.glob("layer-*.png"):
            if file.name not in used:
                file.unlink()

    def pack(self) -> bytes:
        """Return the document as one project file; equal documents give equal bytes."""
        out = BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, _STATE, self._state().encode())
            for key in sorted(_used(self.history) | set(self.pictures)):
                _add(archive, key, self.path(key).read_bytes())
        return out.getvalue()


def asset_path(folder: Path, key: str) -> Path:
    """Return the path of a picture or layer in a journal's folder.

    Raises:
        PentimentoError: this is no key.
    """
    if not _KEY.fullmatch(key):
        raise PentimentoError(f"no picture or layer is called {key[:60]!r}")
    return folder / key


def shown_path(folder: Path, key: str) -> Path:
    """Return where the shown form of a picture lies."""
    return asset_path(folder, key).with_name(f"shown-{key.split('-')[1].split('.')[0]}.png")


def key_of(kind: str, data: bytes, suffix: str) -> str:
    """Return the key of a picture or layer: its kind, its content's hash, its suffix."""
    return f"{kind}-{hashlib.sha256(data).hexdigest()[:32]}{suffix}"


def keep(folder: Path, kind: str, data: bytes, suffix: str) -> str:
    """Write a picture or layer into a journal's folder, unless it is there; return its key."""
    key = key_of(kind, data, suffix)
    path = asset_path(folder, key)
    if not path.exists():
        write_atomically(path, data, PentimentoError)
    return key


def keep_layer(folder: Path, layer: LabelMap) -> str:
    """Write a painted layer into a journal's folder; return its key."""
    return keep(folder, "layer", mask_png(layer, optimize=False), ".png")


def layer_from(values: bytes) -> LabelMap | None:
    """Return the painted layer that S × S bytes hold, or None when nothing is painted.

    Raises:
        PentimentoError: they are no square, or hold values that are no classes.
    """
    side = math.isqrt(len(values))
    if side == 0 or side * side != len(values):
        raise PentimentoError(f"a painted layer is S x S bytes, got {len(values)}")
    array = np.frombuffer(values, np.uint8).reshape(side, side)
    try:
        return None if (array == IGNORE).all() else LabelMap(array)
    except ValueError as error:
        raise PentimentoError(f"this is no painted layer: {error}") from error


def read_journal(folder: Path) -> Journal:
    """Return the document that a folder holds.

    Raises:
        PentimentoError: there is none, or a file of it is missing or damaged.
    """
    try:
        text = (folder / _STATE).read_text()
    except OSError as error:
        raise PentimentoError(f"{folder.name} holds no document") from error
    return _parsed(folder, text)


def unpack(data: bytes, folder: Path) -> Journal:
    """Write a project file's content into a new folder and return its document.

    No name in the archive becomes a path unless it is a key whose hash the content has.

    Raises:
        PentimentoError: this is no project file, it is damaged, or it unpacks to too much.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            listed = archive.infolist()
            if len(listed) > _ENTRIES or sum(e.file_size for e in listed) > _UNPACKED:
                raise PentimentoError("this project file unpacks to more than a project can hold")
            text = _entry(archive, _STATE).decode()
            journal = _parsed(folder, text)
            folder.mkdir(parents=True)
            for key in sorted(_used(journal.history) | set(journal.pictures)):
                content = _entry(archive, key)
                path = asset_path(folder, key)
                if key_of(key.split("-")[0], content, path.suffix) != key:
                    raise PentimentoError(f"{key} in this project file is damaged")
                write_atomically(path, content, PentimentoError)
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, NotImplementedError) as error:
        raise PentimentoError(
            f"this is no project file of the studio, or it is damaged ({error})"
        ) from error
    return journal.saved()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _STAMP)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED if name == _STATE else zipfile.ZIP_STORED
    archive.writestr(entry, data)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return one member, never more than a project may hold: a header can lie about sizes."""
    with archive.open(name) as file:
        data = file.read(_UNPACKED + 1)
    if len(data) > _UNPACKED:
        raise PentimentoError("this project file unpacks to more than a project can hold")
    return data


def _parsed(folder: Path, text: str) -> Journal:
    try:
        read: dict[str, Any] = json.loads(text)
        if read["format"] != FORMAT:
            raise PentimentoError(
                f"the document has format {read['format']}, this version reads {FORMAT}"
            )
        history = History.from_json(json.dumps(read["history"]))
        pictures = {str(key): str(name) for key, name in read["pictures"].items()}
        journal = Journal(folder, str(read["name"]), history, pictures)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PentimentoError(f"this is no document of the studio: {error!r}") from error
    for key in _used(history) | set(pictures):
        journal.path(key)
    for step in history.steps:
        if not set(step.document.pictures()) <= set(pictures):
            raise PentimentoError("the document names a picture that it does not hold")
    return journal


def _used(history: History) -> set[str]:
    """Return the keys that any state needs."""
    names: set[str] = set()
    for step in history.steps:
        names.update(step.document.pictures(), step.document.masks())
    return names
