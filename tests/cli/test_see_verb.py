import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import pentimento as package
from pentimento.cli import main
from pentimento.files.pictures import open_picture, save_picture
from pentimento.structures import Boxes, Picture


class Finder:
    """Sees one face in the middle of every picture that is not black."""

    def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
        height, width = image.shape[:2]
        x, y, e = width / 2, height / 2, min(height, width) / 5
        row = [x - e, y - 1.5 * e, x + e, y + 1.5 * e]
        points = [[x - e / 2, y - e / 2], [x + e / 2, y - e / 2], [x, y], [x - e / 3, y + e / 2],
                  [x + e / 3, y + e / 2]]  # fmt: skip
        count = int(image.max() > 0 and threshold < 0.9)
        return SimpleNamespace(
            boxes=Boxes(np.array([row] * count, np.float32).reshape(-1, 4),
                        np.full(count, 0.9, np.float32)),
            points=np.array([points] * count, np.float32).reshape(-1, 5, 2),
            vertices=np.zeros((count, 0, 3), np.float32),
        )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pentimento.session.api.load_finder", lambda folder: Finder())
    monkeypatch.setattr("pentimento.session.api.bundled", lambda name: None)
    monkeypatch.chdir(tmp_path)
    photo = np.full((150, 120, 3), 90, np.uint8)
    save_picture(Picture(photo), tmp_path / "photo.png")
    (tmp_path / "album").mkdir()
    save_picture(Picture(photo), tmp_path / "album" / "one.png")
    save_picture(Picture(0 * photo), tmp_path / "album" / "two.png")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pentimento", "see", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_photo_becomes_json_and_overlay(desk, monkeypatch, capsys):
    assert run(monkeypatch, "photo.png", "-o", "scene.json", "--overlay", "over.png") == 0
    scene = json.loads((desk / "scene.json").read_text())
    assert scene["images"] == [{"id": 1, "file_name": "photo.png", "width": 120, "height": 150}]
    assert len(scene["annotations"]) == 1
    assert (open_picture(desk / "over.png").pixels != 90).any()
    out = capsys.readouterr().out
    assert "photo.png  1 face " in out
    assert "score 0.90" in out


def test_a_folder_becomes_one_json_and_names_what_it_cannot_read(desk, monkeypatch, capsys):
    (desk / "album" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    assert run(monkeypatch, "album", "-o", "all.json", "--overlay", "over") == 1
    scene = json.loads((desk / "all.json").read_text())
    assert [image["file_name"] for image in scene["images"]] == ["one.png", "two.png"]
    assert [annotation["image_id"] for annotation in scene["annotations"]] == [1]
    assert sorted(path.name for path in (desk / "over").iterdir()) == ["one.png", "two.png"]
    said = capsys.readouterr()
    assert "1 face in 2 of 3 pictures" in said.out
    assert "broken.png" in said.err


def test_pictures_of_one_name_keep_their_overlays_apart_and_folders_are_no_pictures(
    desk, monkeypatch, capsys
):
    (desk / "album" / "one.jpg").mkdir()
    save_picture(Picture(np.full((150, 120, 3), 90, np.uint8)), desk / "album" / "two.jpg")
    assert run(monkeypatch, "album", "--overlay", "over") == 0
    names = sorted(path.name for path in (desk / "over").iterdir())
    assert names == ["one.png", "two.jpg.png", "two.png.png"]
    assert "in 3 of 3 pictures" in capsys.readouterr().out


def test_the_threshold_is_passed_on(desk, monkeypatch, capsys):
    assert run(monkeypatch, "photo.png", "--threshold", "0.95") == 0
    assert "no faces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photo.png", "-o", "photo.png"], "is the photo itself"),
        (["nowhere.png"], "nowhere.png"),
        (["photo.png", "-o", "no/such/folder.json"], "does not exist"),
        (["album", "-o", "album"], "is the folder itself"),
        (["album", "-o", "album/one.png"], "is one of the pictures"),
        (["album", "-o", "photo.png"], "is named like a picture"),
        (["album", "-o", "."], "is a folder"),
        (["album", "--overlay", "notes.txt"], "notes.txt is a file"),
        (["album", "--overlay", "album"], "is the folder itself"),
    ],
)
def test_faults_are_explained_before_anything_is_looked_at(
    desk, monkeypatch, capsys, words, message
):
    (desk / "notes.txt").write_text("precious")
    kept = {path: path.read_bytes() for path in desk.rglob("*.*")}
    assert run(monkeypatch, *words) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    assert {path: path.read_bytes() for path in desk.rglob("*.*")} == kept


def test_an_older_json_is_replaced_when_all_is_seen_and_not_before(desk, monkeypatch, capsys):
    scene = desk / "scene.json"
    scene.write_text("precious")

    def looked(*_: object) -> SimpleNamespace:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pentimento.session.api.load_finder", looked)
        assert run(patched, "album", "-o", "scene.json") == 1
    assert scene.read_text() == "precious"
    assert run(monkeypatch, "album", "-o", "scene.json") == 0
    assert len(json.loads(scene.read_text())["images"]) == 2


def test_a_finder_that_has_learnt_nothing_is_named_as_the_cause(desk, monkeypatch, capsys):
    class Everywhere(Finder):
        def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
            found = super().predict(image, threshold=threshold)
            low = np.stack(np.meshgrid(*[np.arange(0, 1000, 30)] * 2), -1).reshape(-1, 2)
            rows = np.concatenate([low, low + 20], 1).astype(np.float32)
            return SimpleNamespace(
                boxes=Boxes(rows, np.full(len(rows), 0.6, np.float32)),
                points=np.repeat(found.points, len(rows), 0),
                vertices=np.repeat(found.vertices, len(rows), 0),
            )

    monkeypatch.setattr("pentimento.session.api.load_finder", lambda folder: Everywhere())
    assert run(monkeypatch, "photo.png", "-o", "scene.json") == 0
    assert "only the 750 surest faces" in capsys.readouterr().err
    assert len(json.loads((desk / "scene.json").read_text())["annotations"]) == 750


def test_python_sees_the_same(desk):
    seen = package.see("photo.png")
    assert len(seen.faces) == 1
    assert seen.coco()["annotations"][0]["score"] == pytest.approx(0.9)
