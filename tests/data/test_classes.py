from pathlib import Path

import cv2
import numpy as np
import pytest

from pentimento.data.classes import open_classes
from pentimento.errors import DataError

RNG = np.random.default_rng(0)


def test_digits_take_turns_and_validation_has_its_own() -> None:
    train = open_classes("digits:count=30", "train", size=28, channels=1, classes=10)
    val = open_classes("digits:count=30", "val", size=28, channels=3, classes=10)
    assert (len(train), len(val)) == (30, 10)
    kinds = [train.sample(n, RNG).kind for n in range(20)]
    assert kinds == [*range(10), *range(10)]
    assert train.sample(3, RNG).image.shape == (28, 28, 1)
    assert (val.sample(3, RNG).image[..., :1] != train.sample(3, RNG).image).any()


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    for kind, level in (("b", 200), ("a", 50)):
        (tmp_path / kind).mkdir()
        for n in range(12):
            cv2.imwrite(
                str(tmp_path / kind / f"{kind}{n}.png"), np.full((8, 9, 3), level, np.uint8)
            )
    train = open_classes(str(tmp_path), "train", size=4, channels=1, classes=2)
    found = {
        (s.kind, int(s.image.mean())) for s in (train.sample(n, RNG) for n in range(len(train)))
    }
    assert found == {(0, 50), (1, 200)}
    with pytest.raises(DataError, match="found 2 folders"):
        open_classes(str(tmp_path), "train", size=4, channels=1, classes=1)
    with pytest.raises(DataError, match="folders of pictures"):
        open_classes(str(tmp_path / "a"), "train", size=4, channels=1, classes=2)
