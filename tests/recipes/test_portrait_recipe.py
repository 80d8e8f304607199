"""The recipe of the portrait generator, from data to card, in its smoke size."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pentimento import models
from pentimento.labels import CELEBAMASK19
from pentimento.session.faces import aligned_face
from pentimento.systems.perceive.face_parsing import FaceParsing, tiny
from session.stand_in import ColourParser, draw

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("portrait_recipe", RECIPES / "portrait.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "portrait_recipe", module)
    spec.loader.exec_module(module)
    return module


def photos(data: Path) -> None:
    for number, folder in enumerate(("faker_portraits/female", "congress_gray", "london_faces")):
        (data / folder).mkdir(parents=True)
        for index in range(3):
            face = draw(160, 200, noise=number + index)
            Image.fromarray(face).save(data / folder / f"{index}.jpg", quality=95)


def test_only_free_photos_teach_the_generator(recipe: ModuleType, tmp_path: Path) -> None:
    photos(tmp_path)
    folders = {path.relative_to(tmp_path).parts[0] for path in recipe.allowed(tmp_path)}
    assert folders == {"faker_portraits", "congress_gray"}


def test_faces_are_aligned_and_labelled(recipe: ModuleType, tmp_path: Path) -> None:
    photos(tmp_path / "data")
    photo = tmp_path / "data" / "congress_gray" / "0.jpg"
    recipe.label_photos(tmp_path / "out", [photo], tmp_path / "data", ColourParser(), 128)
    labels = np.array(Image.open(tmp_path / "out" / "labels" / "congress_gray-0.png"))
    image = np.array(Image.open(tmp_path / "out" / "images" / "congress_gray-0.png"))
    assert image.shape == (128, 128, 3)
    # In the aligned frame the subject's right eye is left of the middle, above the mouth.
    (ey, ex), (my, mx) = (
        np.argwhere(np.isin(labels, CELEBAMASK19.values(*group))).mean(0)
        for group in (("r_eye",), ("u_lip", "l_lip"))
    )
    assert ex < 60
    assert ey < 70 < my
    assert abs(mx - 64) < 8


def test_recipe_goes_from_data_to_card_and_continues(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out, weights = tmp_path / "data", tmp_path / "out", tmp_path / "weights"
    photos(data)
    models.save(FaceParsing(tiny()), tmp_path / "parser", "")
    # An untrained parser sees no faces: take each picture as one.
    monkeypatch.setattr(recipe, "find_faces", lambda rgb, parser: [aligned_face(*rgb.shape[:2])])
    words = ["--data", str(data), "--out", str(out), "--weights", str(weights), "--smoke"]
    words += ["--parser", str(tmp_path / "parser"), "--share", "0.5"]

    # The first attempt is cut off between its stages.
    real = recipe.train
    monkeypatch.setattr(
        recipe, "train", lambda run, *rest: real(run, *rest) if run.name == "half" else 1 / 0
    )
    attempt = CliRunner().invoke(recipe.main, words)
    assert isinstance(attempt.exception, ZeroDivisionError)
    half = (out / "half" / "model.safetensors").read_bytes()

    monkeypatch.setattr(recipe, "train", real)
    CliRunner().invoke(recipe.main, words, catch_exceptions=False)
    assert (out / "half" / "model.safetensors").read_bytes() == half
    assert len(list((out / "world" / "labels").iterdir())) == 2  # half of the smoke's four
    assert len(list((out / "faces" / "labels").iterdir())) == 2  # a quarter of six, rounded up
    assert json.loads((out / "wish" / "done.json").read_text())["steps"] == 1
    loaded = models.load(weights)
    assert list(loaded.networks) == ["generator"]
    card = (weights / "card.md").read_text()
    assert "{" not in card
    for word in ("CC0", "public domain", "Licence", "seed 0", "Cost", "reconstruction", "paste",
                 "Known failures"):  # fmt: skip
        assert word in card


@pytest.mark.parametrize("name", ["portrait", "gallery"])
def test_recipes_tell_their_cost_in_one_line(name: str) -> None:
    command = [sys.executable, str(RECIPES / f"{name}.py"), "--about"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
