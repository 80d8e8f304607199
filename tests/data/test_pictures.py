"""A plain folder of pictures as training data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pentimento.data.faces import split_of
from pentimento.data.pictures import open_pictures
from pentimento.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    for n in range(30):
        ramp = np.tile(np.arange(40, dtype=np.uint8) * 6, (20, 1))
        Image.fromarray(np.dstack([ramp, ramp * 0 + n, ramp * 0])).save(
            tmp_path / ("more" if n % 2 else ".") / f"p{n}.png"
        )
    return tmp_path


def test_every_picture_is_on_one_side(folder: Path) -> None:
    numbers = {}
    for split in ("train", "val"):
        pictures = open_pictures(f"pictures:{folder}", split, 20)
        rng = np.random.default_rng(0)
        numbers[split] = {int(pictures.sample(i, rng).image[0, 0, 1]) for i in range(len(pictures))}
    assert numbers["train"] | numbers["val"] == set(range(30))
    assert not numbers["train"] & numbers["val"]
    assert numbers["val"] == {n for n in range(30) if split_of(f"p{n}") == "val"}


def test_training_squares_move_and_turn_and_validation_takes_the_middle(folder: Path) -> None:
    rng = np.random.default_rng(0)
    varied = open_pictures(f"pictures:{folder}", "train", 20)
    rows = [varied.sample(0, rng).image[0, :, 0].astype(int) for _ in range(20)]
    assert {int(np.sign(row[-1] - row[0])) for row in rows} == {-1, 1}
    assert len({int(row.min()) for row in rows}) > 3
    middle = open_pictures(f"pictures:{folder}", "val", 20).sample(0, rng).image
    assert middle.shape == (20, 20, 3)
    assert middle[0, :, 0].tolist() == [6 * x for x in range(10, 30)]


def test_a_folder_without_pictures_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=tmp_path.name):
        open_pictures(f"pictures:{tmp_path}", "train", 8)


def test_a_split_without_pictures_is_an_error_that_says_why(tmp_path: Path) -> None:
    stem = next(f"p{n}" for n in range(100) if split_of(f"p{n}") == "train")
    Image.new("RGB", (8, 8)).save(tmp_path / f"{stem}.png")
    with pytest.raises(DataError, match="add pictures"):
        open_pictures(f"pictures:{tmp_path}", "val", 8)
