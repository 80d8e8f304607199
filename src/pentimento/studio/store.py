"""All documents on this machine: one folder each, offered again until the person discards them."""

import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any, Final

from pentimento.errors import PentimentoError
from pentimento.session.document import Document
from pentimento.session.faces import Where
from pentimento.session.history import History
from pentimento.session.journal import Journal, read_journal, unpack

_IDENTITY: Final = re.compile(r"[0-9a-f]{16}")


class Store:
    """Documents by their identity."""

    def __init__(self, root: Path) -> None:
        """Open a folder of documents, creating it; what was never finished is removed."""
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, Journal] = {}
        for folder in root.iterdir():
            if _IDENTITY.fullmatch(folder.name) and not (folder / "journal.json").is_file():
                shutil.rmtree(folder)

    def listed(self) -> list[dict[str, Any]]:
        """Return identity, name, number of edits and age of every document, the newest first."""
        found = []
        for folder in self._root.iterdir():
            if not _IDENTITY.fullmatch(folder.name):
                continue
            try:
                journal = self.get(folder.name)
                changed = (folder / "journal.json").stat().st_mtime
            except (PentimentoError, OSError):
                continue  # damaged from outside: neither offered nor deleted
            found.append(
                {
                    "id": folder.name,
                    "name": journal.name,
                    "edits": journal.history.position,
                    "minutes": max(0, int((time.time() - changed) / 60)),
                }
            )
        return sorted(found, key=lambda item: item["minutes"])

    def get(self, identity: str) -> Journal:
        """Return a document.

        Raises:
            PentimentoError: there is none of that identity.
        """
        if identity not in self._open:
            self._open[identity] = read_journal(self._folder(identity))
        return self._open[identity]

    def put(self, identity: str, journal: Journal) -> Journal:
        """Remember the newest state of a document, which is on disk already."""
        self._open[identity] = journal
        return journal

    def begin(self) -> tuple[str, Path]:
        """Return a new identity and its empty folder."""
        identity = secrets.token_hex(8)
        folder = self._folder(identity)
        folder.mkdir()
        return identity, folder

    def create(self, identity: str, key: str, name: str, where: Where) -> Journal:
        """Start the document of a photo that lies in its folder."""
        folder = self._folder(identity)
        history = History.of(Document(key, where))
        return self.put(identity, Journal(folder, name, history, {key: name}).saved())

    def unpacked(self, data: bytes) -> tuple[str, Journal]:
        """Take in a project file as a new document.

        Raises:
            PentimentoError: it is no sound project file.
        """
        identity = secrets.token_hex(8)
        folder = self._folder(identity)
        try:
            return identity, self.put(identity, unpack(data, folder))
        except PentimentoError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def discard(self, identity: str) -> None:
        """Delete a document and all its files."""
        self._open.pop(identity, None)
        shutil.rmtree(self._folder(identity), ignore_errors=True)

    def _folder(self, identity: str) -> Path:
        """Return the folder of an identity: the one place where it becomes a path."""
        if not _IDENTITY.fullmatch(identity):
            raise PentimentoError("there is no such document")
        return self._root / identity
