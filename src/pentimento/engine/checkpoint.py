"""Checkpoints that survive a kill, a full disk and a flipped bit.

`RUN/checkpoints/step_00001000/` is written under a temporary name, every file and the folder
fsynced, then renamed. `manifest.json`, written last, holds the SHA-256 of every file; a folder
without it, or whose files do not match it, is refused.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pentimento.engine import storage
from pentimento.errors import CheckpointError

MANIFEST: Final = "manifest.json"
_MAX_FILE_BYTES: Final = 16 << 30


def save(folder: Path, step: int, files: Mapping[str, bytes], *, keep: int = 2) -> Path:
    """Write `folder/step_XXXXXXXX` and remove all but the newest `keep`.

    Raises:
        CheckpointError: the disk is full or failing; the older checkpoints are untouched.
    """
    final = folder / f"step_{step:08d}"
    partial = folder / f".{final.name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".step_*.partial"):
            shutil.rmtree(leftover)
        partial.mkdir()
        for name, data in files.items():
            storage.write(partial / name, data)
        manifest = {
            "format": 1,
            "step": step,
            "sha256": {k: storage.sha256(files[k]) for k in files},
        }
        storage.write(partial / MANIFEST, json.dumps(manifest, indent=2).encode())
        storage.sync_folder(partial)
        if final.exists():  # it was refused when the run was resumed
            shutil.rmtree(final)
        storage.rename(partial, final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        older = [path.name for path in _folders(folder)]
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {folder} ({error.strerror}). "
            f"Intact: {older[0] if older else 'none before it'}. Free some space, then continue "
            f"with: pentimento train --resume {folder.parent}"
        ) from error
    for old in _folders(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load(path: Path) -> dict[str, bytes]:
    """Read a checkpoint's files, each checked against the manifest before it is used."""
    try:
        hashes = json.loads((path / MANIFEST).read_bytes())["sha256"]
        files = {}
        for name, expected in hashes.items():
            if Path(name).name != name or (path / name).stat().st_size > _MAX_FILE_BYTES:
                raise CheckpointError(f"{path / name}: not a file of a checkpoint")
            files[name] = (path / name).read_bytes()
            if storage.sha256(files[name]) != expected:
                raise CheckpointError(
                    f"{path / name} is damaged: its SHA-256 is not the recorded one"
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is incomplete: {error}") from None
    return files


def newest(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of the newest valid checkpoint, and why newer ones were refused."""
    refused: list[str] = []
    for path in _folders(folder):
        try:
            return load(path), refused
        except CheckpointError as error:
            refused.append(str(error))
    raise CheckpointError(
        "; ".join(refused) or f"{folder} holds no checkpoint: the run ended before its first one"
    )


def present(folder: Path) -> bool:
    """Return whether there is any checkpoint, valid or not."""
    return bool(_folders(folder))


def _folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_????????"), reverse=True)
