import errno
import os
from pathlib import Path

import numpy as np
import pytest

from pentimento.errors import PentimentoError
from pentimento.labels import IGNORE
from pentimento.session.document import Document, Paint
from pentimento.session.history import History
from pentimento.session.journal import (
    Journal,
    asset_path,
    keep,
    keep_layer,
    layer_from,
    read_journal,
    unpack,
)
from pentimento.structures import LabelMap


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    folder = tmp_path / "one"
    folder.mkdir()
    key = keep(folder, "picture", b"the photo", ".jpg")
    return Journal(folder, "me.jpg", History.of(Document(key)), {key: "me.jpg"}).saved()


def painted(journal: Journal, value: int) -> Journal:
    layer = keep_layer(journal.folder, LabelMap(np.full((8, 8), value, np.uint8)))
    photo = journal.current.photo
    return journal.written(journal.history.then("Paint", Document(photo, commands=(Paint(layer),))))


def test_what_was_written_is_read_again(journal: Journal):
    journal = painted(journal, 13)
    assert read_journal(journal.folder) == journal


def test_a_step_that_cannot_be_written_leaves_the_one_before(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
):
    journal = painted(journal, 13)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PentimentoError, match="No space left"):
        journal.written(journal.history.at(0))
    monkeypatch.undo()
    assert read_journal(journal.folder) == journal


def test_layers_that_no_step_needs_are_swept_away(journal: Journal):
    first = painted(journal, 13)
    second = first.written(first.history.at(0))
    third = painted(second, 14)
    third.sweep()
    assert {p.name for p in third.folder.glob("layer-*")} == {
        c.layer for c in third.current.commands if isinstance(c, Paint)
    }


def test_a_project_file_opens_again_exactly(journal: Journal, tmp_path: Path):
    journal = painted(painted(journal, 13), 14)
    journal = journal.written(journal.history.at(1))
    again = unpack(journal.pack(), tmp_path / "two")
    assert again.history == journal.history
    assert again.pictures == journal.pictures
    assert again.pack() == journal.pack()


@pytest.mark.parametrize(
    "key",
    ["", "..", "journal.json", "picture-../../x.jpg", f"picture-{'0' * 32}.svg",
     f"picture-{'0' * 32}.jpg\n", f"/picture-{'0' * 32}.jpg", f"layer-{'0' * 32}.jpg",
     f"picture-{'G' * 32}.jpg", f"..\\picture-{'0' * 32}.jpg", f"picture-{'0' * 32}.jpg\0"],
)  # fmt: skip
def test_only_a_key_becomes_a_path(tmp_path: Path, key: str):
    with pytest.raises(PentimentoError, match="no picture or layer"):
        asset_path(tmp_path, key)


def test_an_empty_layer_is_none_and_a_wrong_one_is_refused():
    assert layer_from(bytes([IGNORE]) * 16) is None
    layer = layer_from(bytes([IGNORE] * 15 + [13]))
    assert layer is not None
    assert layer.values[3, 3] == 13
    for wrong in (b"", bytes(15), bytes([77]) * 16):
        with pytest.raises(PentimentoError, match="painted layer"):
            layer_from(wrong)
