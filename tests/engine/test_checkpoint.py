"""A full disk or a failing one costs nothing that was there before."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import toy
from pentimento import models
from pentimento.catalog import CATALOG
from pentimento.engine import checkpoint, rng, storage
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.errors import CheckpointError, TrainingError

FILES = {"a.bin": b"alpha" * 100, "b.bin": b"beta" * 100, "empty.bin": b""}
CALLS = ("open", "write", "fsync", "replace")


class Disk:
    """Counts the calls that reach the disk, and fails the one numbered `fail`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.fail, self.code = 0, -1, errno.ENOSPC

        def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                self.count += 1
                if self.count == self.fail:
                    raise OSError(self.code, os.strerror(self.code))
                return real(*arguments)

            return call

        class System:
            def __getattr__(self, name: str) -> Any:
                return getattr(os, name)

        system = System()
        for name in CALLS:
            setattr(system, name, guarded(getattr(os, name)))
        monkeypatch.setattr(storage, "os", system)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def system() -> Iterator[Any]:
    rng.seed(0)
    yield toy.register().Toy(toy.tiny())
    del CATALOG["toy"]


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_checkpoint_survives_a_fault_at_every_write_of_the_next(
    code: int, disk: Disk, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path, 1, FILES)
    before, writes = tree(tmp_path), disk.count
    disk.code = code
    for fail in range(1, writes + 1):
        disk.count, disk.fail = 0, fail
        with pytest.raises(
            CheckpointError, match=r"step 2 .*Intact: step_0000000[12].*--resume"
        ) as e:
            checkpoint.save(tmp_path, 2, FILES)
        assert os.strerror(code) in str(e.value)
        files, _ = checkpoint.newest(tmp_path)
        assert files == FILES
        assert before.items() <= tree(tmp_path).items()
        assert not list(tmp_path.glob(".*"))
        # Once renamed, only the fsync of the folder (an open and an fsync) can still fail.
        assert (tmp_path / "step_00000002").exists() == (fail > writes - 2)
    disk.fail = -1
    checkpoint.save(tmp_path, 2, FILES)
    assert checkpoint.load(tmp_path / "step_00000002") == FILES


def test_partial_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(storage.os, "write", lambda handle, data: real(handle, bytes(data[:7])))
    storage.write(tmp_path / "file", b"0123456789" * 5)
    assert (tmp_path / "file").read_bytes() == b"0123456789" * 5


def test_a_model_folder_loads_after_a_fault_at_every_write(
    disk: Disk, system: Any, tmp_path: Path
) -> None:
    models.save(system, tmp_path, "old")
    old, writes = (tmp_path / models.MODEL_FILE).read_bytes(), disk.count
    with torch.no_grad():
        system.networks["critic"].bias.add_(1.0)
    new = models.serialise(models.weights(system.networks))
    for fail in range(1, writes + 1):
        disk.count, disk.fail = 0, fail
        with pytest.raises(CheckpointError, match="what was there before is intact"):
            models.save(system, tmp_path, "new")
        disk.fail = -1
        found = models.serialise(models.weights(models.load(tmp_path).networks))
        assert found in (old, new)
        assert found == (tmp_path / models.MODEL_FILE).read_bytes()
        assert not list(tmp_path.glob(".*"))


def test_a_run_stops_cleanly_on_a_full_disk_and_continues(
    disk: Disk, system: Any, tmp_path: Path
) -> None:
    settings = Settings(4, 2, save_every=2, validate_every=0, sheet_every=0, workers=0)
    data = toy.Faces(21), toy.Faces(5)
    fit(system, tmp_path / "whole", *data, settings)
    calls = disk.count
    for number, fail in enumerate((calls // 2, calls - 3)):
        run = tmp_path / str(number)
        disk.count, disk.fail = 0, fail
        rng.seed(0)
        with pytest.raises((CheckpointError, TrainingError), match="No space left on device"):
            fit(toy.register().Toy(toy.tiny()), run, *data, settings)
        disk.fail = -1
        rng.seed(0)
        fit(toy.register().Toy(toy.tiny()), run, *data, settings, resume=True)
        assert models.load(run)
        state = "checkpoints/step_00000004/networks.safetensors"
        assert len((run / state).read_bytes()) == len((tmp_path / "whole" / state).read_bytes())


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        checkpoint.save(tmp_path, step, FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000015", "step_00000020"]


def test_no_checkpoint_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.newest(tmp_path)


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    path = checkpoint.save(tmp_path / "checkpoints", 1, FILES)
    manifest = f'{{"sha256": {{"../../secret": "{storage.sha256(b"x")}"}}}}'
    (path / checkpoint.MANIFEST).write_text(manifest)
    with pytest.raises(CheckpointError, match="not a file of a checkpoint"):
        checkpoint.load(path)
