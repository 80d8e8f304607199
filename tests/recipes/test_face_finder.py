"""The recipe of the face finder, from photos to the model folder, with everything tiny."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pentimento import models
from pentimento.data.collage import Crowd
from pentimento.ops.face_points import face_box

sys.path.insert(0, str(Path(__file__).parent.parent / "session"))
from stand_in import ColourParser, draw, points


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = Path(__file__).parents[2] / "recipes" / "face_finder.py"
    spec = importlib.util.spec_from_file_location("face_finder_recipe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "face_finder_recipe", module)
    spec.loader.exec_module(module)

    def scene(seed: int, vertices: int = 0) -> Crowd:
        box = np.array([[30, 20, 70, 80]], np.float32)
        five = np.full((1, 5, 2), 50, np.float32)
        return Crowd(draw(100, 100), box, five, np.zeros((1, vertices, 3), np.float32))

    monkeypatch.setattr(module, "read_scene", scene)
    monkeypatch.setattr("pentimento.data.crowds.read_scene", scene)
    monkeypatch.setattr(module, "load_parser", ColourParser)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Drawn photos in the place of real ones, and drawn portraits in the place of rendered ones."""
    photos = tmp_path / "data" / "faker_portraits" / "male"
    photos.mkdir(parents=True)
    for number in range(4):
        Image.fromarray(draw(150 + number, 150)).save(photos / f"{number}.jpg", quality=95)
    for name in ("images", "truths"):
        (tmp_path / "world" / name).mkdir(parents=True)
    left, right, mouth = (np.array(p) for p in points(96, 96))
    middle, aside = (left + right) / 2, np.array([8.0, 0])
    five = np.stack([left, right, 0.5 * (middle + mouth), mouth - aside, mouth + aside])
    for number in range(12):
        Image.fromarray(draw(96, 96)).save(tmp_path / "world" / "images" / f"{number}.png")
        truth = {"box": face_box(five).tolist(), "landmarks": {"5": five.tolist()}}
        (tmp_path / "world" / "truths" / f"{number}.json").write_text(json.dumps(truth))
    return tmp_path


def test_from_photos_to_card_and_again(recipe: ModuleType, data: Path):
    words = ["train", "--data", str(data / "data"), "--out", str(data / "out"), "--smoke",
             "--world", str(data / "world")]  # fmt: skip
    done = CliRunner().invoke(recipe.cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    located = json.loads((data / "out" / "portraits" / "looked.json").read_text())
    assert list(located.values()) == [True] * 4
    truth = next((data / "out" / "portraits" / "truths").iterdir())
    facts = json.loads(truth.read_text())
    wanted = points(facts["width"], 150)[0]
    np.testing.assert_allclose(facts["landmarks"]["5"][0], wanted, atol=3)
    card = (data / "out" / "model" / "card.md").read_text()
    assert "{" not in card
    assert "| faker_portraits | 4 |" in card
    assert models.load(data / "out" / "model").config.size == 64
    before = (data / "out" / "scenes" / "done").stat().st_mtime_ns
    again = CliRunner().invoke(recipe.cli, words, catch_exceptions=False)
    assert again.exit_code == 0
    assert (data / "out" / "scenes" / "done").stat().st_mtime_ns == before


def test_what_is_no_face_is_cut_out_with_the_face_that_is_near(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A face of 80 pixels in a photo of 600, a button below it, and a leaf far away."""
    face, button, leaf = [260, 100, 340, 200], [290, 240, 310, 260], [20, 480, 60, 520]
    found = [SimpleNamespace(box=np.array(box, float), size=float(np.ptp(box[::2])))
             for box in (face, button, leaf)]  # fmt: skip
    monkeypatch.setattr(recipe, "detect", lambda rgb, finder, threshold: found)
    rgb = np.zeros((600, 600, 3), np.uint8)
    rgb[240:260, 290:310] = 255
    five = [[140, 70], [160, 70], [150, 80], [142, 90], [158, 90]]
    box = [130, 50, 170, 100]
    facts = {"person": "anna", "width": 300, "box": box, "landmarks": {"5": five}}
    for name in ("images", "truths"):
        (tmp_path / name).mkdir()
    recipe._mine(None, rgb, facts, tmp_path, "photo")
    truths = [json.loads(p.read_text()) for p in sorted((tmp_path / "truths").iterdir())]
    assert [truth["person"] for truth in truths] == ["anna", "anna"]
    # The button's part is 160 pixels wide, from (220, 170): less than half of the face is in it.
    assert "box" not in truths[0]
    part = np.asarray(Image.open(tmp_path / "images" / "photo-1.png"))
    rows, columns = np.nonzero(part[..., 0] > 128)
    assert part.shape == (256, 256, 3)
    np.testing.assert_allclose([columns.mean(), rows.mean()], 127.5, atol=1)
    assert 30 <= np.ptp(rows) + 1 <= 34
    # The leaf's part, 320 pixels in the corner, holds none of the face; a wider one would.
    assert "box" not in truths[1]
    found[2].size = 70.0
    recipe._mine(None, rgb, facts, tmp_path, "wide")
    (truth,) = [json.loads(p.read_text()) for p in (tmp_path / "truths").glob("wide-2.json")]
    scale = 256 / 560
    np.testing.assert_allclose(truth["box"], scale * (np.array(face) - [0, 40, 0, 40]), atol=0.01)
    np.testing.assert_allclose(truth["landmarks"]["5"][0], [scale * 280, scale * 100], atol=0.01)
