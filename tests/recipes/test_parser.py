"""The recipe of the face parser, from data to card, in its smoke size."""

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pentimento import models
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.session.faces import aligned_face
from pentimento.systems.perceive.face_parsing import FaceParsing, tiny

RECIPE = Path(__file__).parents[2] / "recipes" / "parser.py"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("parser_recipe", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "parser_recipe", module)
    spec.loader.exec_module(module)
    # An untrained parser sees no faces: take each picture as one.
    monkeypatch.setattr(module, "find_faces", lambda rgb, parser: [aligned_face(*rgb.shape[:2])])
    return module


def pictures(folder: Path, count: int, *parts: str) -> None:
    rng = np.random.default_rng(0)
    for part in parts:
        (folder / part).mkdir(parents=True)
    for number in range(count):
        for part in parts:
            shape = (64, 64) if part == "labels" else (64, 64, 3)
            values = rng.integers(0, 19, shape, dtype=np.uint8)
            suffix = "png" if part == "labels" else "jpg"
            Image.fromarray(values).save(folder / part / f"{number}.{suffix}")


def test_recipe_goes_from_data_to_card_and_continues(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENTIMENTO_CACHE", str(tmp_path / "cache"))
    data, out, weights = tmp_path / "data", tmp_path / "out", tmp_path / "weights"
    pictures(tmp_path / "drawn", 6, "images", "labels")
    pictures(data / "faker_portraits", 3, "female")
    words = ["train", "--data", str(data), "--out", str(out), "--smoke"]
    words += ["--world", str(tmp_path / "drawn"), "--weights", str(weights)]

    # The first attempt is cut off in its second stage.
    real = recipe.label_all
    monkeypatch.setattr(recipe, "label_all", lambda *_: 1 / 0)
    assert isinstance(CliRunner().invoke(recipe.cli, words).exception, ZeroDivisionError)
    teacher = (out / "teacher" / "model.safetensors").read_bytes()
    monkeypatch.setattr(recipe, "label_all", real)
    result = CliRunner().invoke(recipe.cli, words, catch_exceptions=False)

    assert result.exit_code == 0
    assert (out / "teacher" / "model.safetensors").read_bytes() == teacher
    for stage in ("student", "long"):
        labels = out / f"photos-{stage}" / "labels"
        assert len(list(labels.iterdir())) == 2  # the smoke's limit
    scores = json.loads((out / "scores.json").read_text())
    assert scores["world"]["faces"] == 2
    card = (weights / "card.md").read_text()
    assert "unseen rendered portraits" in card
    assert "{" not in card
    parser = models.load(weights)
    assert parser.predict(np.zeros((40, 40, 3), np.uint8)).values.shape == (40, 40)


def test_a_share_shortens_every_stage_and_thins_the_data(recipe: ModuleType) -> None:
    plan = recipe.shortened(recipe.full(), 0.1)

    assert [stage.steps for stage in plan.stages] == [250, 50, 44, 630]
    assert (plan.world, plan.unlabelled) == (320, 0.1)
    assert recipe.shortened(plan, 1e-6).stages[0].steps == 1


def test_half_of_a_class_weight_is_taken_back_from_its_logit(recipe: ModuleType) -> None:
    earring = CELEBAMASK19.value("ear_r")
    weights = tuple(4.0 if value == earring else 1.0 for value in range(19))
    parser = FaceParsing(replace(tiny(), class_weights=weights))
    face = torch.zeros(1, 3, 64, 64)
    before = parser.logits(face)

    after = recipe.sobered(parser).logits(face)

    assert torch.allclose(before[:, earring] - after[:, earring], torch.tensor(math.log(2.0)))
    assert torch.equal(before[:, :earring], after[:, :earring])


def test_labels_of_photos_lose_the_parsers_habits(recipe: ModuleType) -> None:
    skin, glasses, hat, mouth, upper, lower = CELEBAMASK19.values(
        "skin", "eye_g", "hat", "mouth", "u_lip", "l_lip"
    )
    image = np.full((64, 64, 3), (190, 150, 130), np.uint8)
    labels = np.full((64, 64), skin, np.uint8)
    labels[:6, :6] = hat
    labels[20, 20:30] = glasses  # a wrinkle
    labels[40:44, 20:44], labels[44:48, 20:44] = upper, lower
    image[40:48, 20:44] = (150, 60, 60)
    image[42:46, 24:40] = (240, 235, 225)  # teeth, shared out between the lips
    shares = np.eye(19, dtype=np.float32)[labels].transpose(2, 0, 1)

    mended = recipe.without_habits(image, labels, shares)

    assert (mended[:6, :6] == IGNORE).all()
    assert (mended[20, 20:30] == IGNORE).all()
    assert (mended[42:46, 24:40] == mouth).all()
    assert mended[40, 30] == upper
    assert mended[47, 30] == lower
    assert (mended[42, 20:23] == upper).all()

    # A highlight on the lower lip is no row of teeth.
    image[40:48, 20:44] = (150, 60, 60)
    image[46:48, 30:33] = (240, 235, 225)
    assert (recipe.without_habits(image, labels, shares) != mouth).all()
