"""Position maps of faces: what they hold, and how they move with their pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pentimento.data.positions import layout, open_positions
from pentimento.errors import DataError
from pentimento.world.portraits import portrait
from pentimento.world.positions import WEIGHTS, positions


def test_the_map_holds_the_landmarks_of_the_portrait() -> None:
    made, shape = portrait(5, 64), layout(64)
    where = positions(5, 64)
    found = (where.reshape(-1, 3)[shape.texels] * shape.blend[..., None]).sum(1)
    off = np.linalg.norm(found[:, :2] * 64 - made.landmarks[68].xy, axis=1)
    span = np.linalg.norm(made.landmarks[68].xy[36] - made.landmarks[68].xy[45])
    assert off.mean() / span < 0.02
    # The tip of the nose stands out, the jaw lies behind it.
    assert found[30, 2] > found[[0, 16], 2].max()
    assert not where[~shape.known].any()


def test_a_layout_weighs_landmarks_most_and_nothing_off_the_face() -> None:
    shape = layout(64)
    assert set(np.unique(shape.weights)) == {0.0, *WEIGHTS.values()}
    assert ((shape.weights > 0) == shape.known).all()
    assert np.allclose(shape.blend.sum(1), 1)
    assert shape.known.reshape(-1)[shape.texels[shape.blend > 0]].all()
    assert np.allclose(shape.shares.sum(2), shape.known, atol=1e-5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shape = layout(32)
    for part in ("images", "truths"):
        (tmp_path / part).mkdir()
    for n in range(4):
        where = positions(n, 32)
        points = (where.reshape(-1, 3)[shape.texels] * shape.blend[..., None]).sum(1)[:, :2] * 64
        image = np.zeros((64, 64, 3), np.uint8)
        x, y = points[30].round().astype(int)
        image[y - 3 : y + 4, x - 3 : x + 4] = 255  # a white nose
        cv2.imwrite(str(tmp_path / "images" / f"{n}.png"), image)
        marks = {"68": [[*p, True] for p in points.tolist()]}
        truths = json.dumps({"seed": n, "size": 64, "landmarks": marks})
        (tmp_path / "truths" / f"{n}.json").write_text(truths)
    return tmp_path


def test_positions_move_with_the_picture(folder: Path) -> None:
    shape = layout(32)
    data = open_positions(str(folder), "train", 48, 32, varied=True)
    for seed in range(8):
        sample = data.sample(seed % len(data), np.random.default_rng(seed))
        flat = sample.positions.reshape(-1, 3)[shape.texels] * shape.blend[..., None]
        x, y = flat.sum(1)[30, :2] * 48
        bright = sample.image.astype(float).sum(2)
        near = bright[max(0, int(y) - 2) : int(y) + 3, max(0, int(x) - 2) : int(x) + 3]
        assert near.mean() > bright.mean() + 60


def test_portraits_of_another_world_are_refused(folder: Path) -> None:
    for path in (folder / "truths").glob("*.json"):
        told = json.loads(path.read_text())
        path.write_text(json.dumps(told | {"seed": told["seed"] + 100}))
    data = open_positions(str(folder), "train", 32, 32, varied=False)
    with pytest.raises(DataError, match="render the folder again"):
        data.sample(0, np.random.default_rng(0))
    with pytest.raises(DataError, match="pentimento world portraits"):
        open_positions(str(folder / "images"), "train", 32, 32, varied=False)
    with pytest.raises(DataError, match="count=3000"):
        open_positions("world:many", "train", 32, 32, varied=False)
