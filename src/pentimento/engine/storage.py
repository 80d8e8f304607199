"""Files that are whole or not there: written, fsynced, renamed, their folder fsynced."""

import hashlib
import os
from pathlib import Path


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(data)
        while view:  # a write may be partial, above all on a disk that is filling up
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk (Windows cannot be asked to)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(source: Path, target: Path) -> None:
    """Give `source` the name `target` durably; a file of that name is replaced at one instant."""
    os.replace(source, target)  # noqa: PTH105  # one module for every system call, for fault tests
    sync_folder(target.parent)


def replace(path: Path, data: bytes) -> None:
    """Replace a file's content at one instant: readers see all of the old or all of the new."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial, data)
        rename(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
