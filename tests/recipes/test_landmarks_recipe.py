"""The recipe of the landmarks, from data to card, in its smoke size; its remaps."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pentimento import models
from pentimento.session.faces import aligned_face

RECIPE = Path(__file__).parents[2] / "recipes" / "landmarks.py"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("landmarks_recipe", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "landmarks_recipe", module)
    spec.loader.exec_module(module)
    # Random pictures hold no faces: take each as one.
    monkeypatch.setattr(module, "find_faces", lambda rgb, parser: [aligned_face(*rgb.shape[:2])])
    monkeypatch.setattr(module, "load_parser", lambda: None)
    return module


def rendered(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for part in ("images", "labels", "truths"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        image = rng.integers(0, 256, (96, 96, 3), np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(image[..., 0] % 19).save(folder / "labels" / f"{number}.png")
        marks = [[x, y, True] for x, y in (30 + 40 * rng.random((68, 2))).tolist()]
        (folder / "truths" / f"{number}.json").write_text(json.dumps({"landmarks": {"68": marks}}))
    return folder


def test_recipe_goes_from_data_to_card_and_continues(recipe: ModuleType, tmp_path: Path) -> None:
    data, out, weights = tmp_path / "data", tmp_path / "out", tmp_path / "weights"
    world = rendered(tmp_path / "drawn", 12)
    photos = data / "faker_portraits" / "female"
    photos.mkdir(parents=True)
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(photos / "0.jpg")
    words = ["train", "--data", str(data), "--out", str(out), "--smoke"]
    words += ["--world", str(world), "--weights", str(weights)]

    # The first attempt is cut off between training and scores.
    real = recipe.evaluate_all
    recipe.evaluate_all = lambda *_: 1 / 0
    assert isinstance(CliRunner().invoke(recipe.cli, words).exception, ZeroDivisionError)
    trained = (out / "run" / "model.safetensors").read_bytes()
    recipe.evaluate_all = real
    result = CliRunner().invoke(recipe.cli, words, catch_exceptions=False)

    assert result.exit_code == 0
    assert (out / "run" / "model.safetensors").read_bytes() == trained
    scores = json.loads((out / "scores.json").read_text())
    assert scores["apart"]["faker_portraits"]["faces"] == 1
    assert scores["jitter"]["smoothed_resting"] < scores["jitter"]["plain_resting"]
    card = (weights / "card.md").read_text()
    assert "unseen rendered portraits" in card
    assert "{" not in card
    assert models.load(weights).predict(noise).shape == (68, 2)


@pytest.mark.parametrize("count", [106, 83])
def test_templates_become_68_points(recipe: ModuleType, count: int) -> None:
    xy = np.random.default_rng(0).random((count, 2)) * 100
    points = recipe.points_of_template(xy)
    assert points.shape == (68, 2)
    chin, corners = (18, (35, 39, 44, 48)) if count == 106 else (6, (44, 79, 61, 40))
    assert np.array_equal(points[[36, 39, 42, 45]], xy[list(corners)])
    if count == 106:
        assert np.array_equal(points[8], xy[chin])


def test_boxes_go_with_their_points(recipe: ModuleType) -> None:
    points = np.random.default_rng(0).random((68, 2)) * [60, 80]
    left, top, right, bottom = recipe.box_around(points)
    assert left < points[:, 0].min() + 10
    assert right > points[:, 0].max() - 10
    assert top < points[:, 1].min()
    assert bottom == pytest.approx(points[:, 1].max(), abs=8)
