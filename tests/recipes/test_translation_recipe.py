"""The recipe of the translation tasks: its pictures, its frames, and one run of one step."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pentimento import catalog
from pentimento.config import with_values

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = ROOT / "recipes" / "translation.py"
    spec = importlib.util.spec_from_file_location("translation_recipe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "translation_recipe", module)
    spec.loader.exec_module(module)
    return module


def picture(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def test_every_task_is_a_configuration(recipe: ModuleType) -> None:
    for task in recipe.TASKS.values():
        module = catalog.row(task.system).module()
        with_values(module.PRESETS["compact"](), [*task.values, f"steps={task.steps}"])


def test_photos_are_cut_where_the_frame_says_and_partners_share_a_name(
    recipe: ModuleType, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for end, folder in (("03", "neutral"), ("08", "smiling")):
        picture(data / "london_faces" / folder / f"001_{end}.jpg", (100, 100), 1)
    picture(data / "congress_gray" / "A1.jpg", (125, 100), 2)
    for folder in ("female", "male"):
        picture(data / "faker_portraits" / folder / "0.jpg", (100, 100), 3)
    recipe.prepare((), data, tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")}
    assert found == {
        "smiles/A/001.png", "smiles/B/001.png", "congress/congress_gray-A1.png",
        "faker/female-0.png", "faker/male-0.png",
    }  # fmt: skip
    with Image.open(tmp_path / "out" / "smiles" / "A" / "001.png") as cut:
        assert cut.size == (recipe._LOAD, recipe._LOAD)


def test_no_picture_of_a_person_is_shown(recipe: ModuleType) -> None:
    """London is never drawn, and of Congress the strip takes the other domain's pictures."""
    assert not recipe.TASKS["neutral2smiling"].shown

    class Data:
        def __len__(self) -> int:
            return 4

        def sample(self, index: int, rng: Any) -> Any:
            sides = [np.full((8, 8, c), v, np.uint8) for c, v in ((1, 200), (3, 40))]
            return type("Pair", (), {"a": sides[0], "b": sides[1]})()

    recipe.painted = lambda system, pixels: np.zeros((8, 8, 3), np.uint8)
    drawn = recipe.strip("grey2colour", None, Data())
    assert drawn.shape == (16, 48, 3)
    assert set(np.unique(drawn)) == {0, 40}


@pytest.mark.slow
def test_a_task_runs_and_continues(recipe: ModuleType, tmp_path: Path) -> None:
    for n in range(40):
        picture(tmp_path / "world" / "images" / f"{n}.png", (32, 32), n)
        labels = np.full((32, 32), n % 19, np.uint8)
        (tmp_path / "world" / "labels").mkdir(exist_ok=True)
        Image.fromarray(labels).save(tmp_path / "world" / "labels" / f"{n}.png")
    words = ["edges2portrait", "--world", str(tmp_path / "world"), "--out", str(tmp_path / "out")]
    for steps in ("1", "2"):
        done = CliRunner().invoke(recipe.main, [*words, "--steps", steps])
        assert done.exit_code == 0, (done.output, done.exception)
        assert "doing nothing" in done.output
    assert (tmp_path / "out" / "edges2portrait.jpg").is_file()
