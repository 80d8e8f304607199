"""The recipe of the face finder, from photos to the model folder, with everything tiny."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

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
