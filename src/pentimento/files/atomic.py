"""Files that are either the old one or the new one, never half of one."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from pentimento.errors import PentimentoError


def write_atomically(path: Path, data: bytes, error: type[PentimentoError]) -> None:
    """Write `data` to `path`: temporary file in the same folder, fsync, rename, fsync the folder.

    Raises:
        PentimentoError: of the kind `error`, when the folder is missing, the disk is full or
            anything else the system refuses; what was at `path` before is still there.
    """
    path = Path(os.path.realpath(path))  # a link stays a link: its target is replaced
    if path.is_dir():
        raise error(f"{path} is a folder; name a file inside it")
    if not path.parent.is_dir():
        raise error(f"{path}: the folder {path.parent} does not exist; create it first")
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink()
        state = "the file that was there is unchanged" if path.exists() else "nothing was written"
        raise error(
            f"{path} could not be saved ({problem.strerror}; {len(data):,} bytes needed): {state}. "
            "Free some space or choose another folder."
        ) from problem
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
