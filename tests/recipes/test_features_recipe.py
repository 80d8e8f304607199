import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from click.testing import CliRunner

from pentimento import models

RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_recipe_trains_and_evens_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [str(RECIPES), *sys.path])
    import features as recipe

    random = np.random.default_rng(0)
    for folder in ("world/images", "world/labels", "data/faker_portraits"):
        (tmp_path / folder).mkdir(parents=True)
        for n in range(30):
            shape = (48, 48) if folder.endswith("labels") else (48, 48, 3)
            pixels = random.integers(0, 19, shape, np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{n}.png"), pixels)
    words = [
        "--data",
        tmp_path / "data",
        "--portraits",
        tmp_path / "world",
        "--out",
        tmp_path / "o",
    ]
    done = CliRunner().invoke(recipe.main, [*map(str, words), "--smoke"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    system = models.load(tmp_path / "o" / "train")
    spec = f"{tmp_path / 'world'},pictures:{tmp_path / 'data' / 'faker_portraits'}"
    recipe.even_out(system, spec, count=8)
    with torch.no_grad():
        seen = system.networks["features"](torch.zeros(1, 3, 32, 32))
    assert all(torch.isfinite(x).all() for x in seen)
