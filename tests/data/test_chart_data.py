"""Faces with surface positions, from an exported folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pentimento.data.charts import open_charts, parts_of
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("images", "labels", "maps"):
        (tmp_path / part).mkdir()
    y, x = np.mgrid[:64, :64]
    uv = (np.stack([x, y], 2) / 64 * 0.4).astype(np.float16)
    labels = np.full((64, 64), CELEBAMASK19.value("skin"), np.uint8)
    labels[20:26, 15:30] = CELEBAMASK19.value("l_eye")
    for n in range(4):
        image = np.repeat((x * 4)[..., None], 3, 2).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{n}.png"), image)
        cv2.imwrite(str(tmp_path / "labels" / f"{n}.png"), labels)
        np.savez(tmp_path / "maps" / f"{n}.npz", uv=uv, covered=x < 48)
    return tmp_path


def test_picture_and_positions_move_together(folder: Path) -> None:
    plain = open_charts(str(folder), "val", 32).sample(0, np.random.default_rng(0))
    assert set(np.unique(plain.part)) == {0, 1, 2}
    assert not plain.part[:, 25:].any()
    data = open_charts(str(folder), "train", 32, varied=True)
    for seed in range(8):
        sample = data.sample(seed % len(data), np.random.default_rng(seed))
        assert sample.image.shape == (32, 32, 3)
        on = sample.part > 0
        assert not sample.uv[~on].any()
        # The picture brightens along u: however it was moved and toned, both rise together.
        bright, u = sample.image[..., 0][on].astype(float), sample.uv[..., 0][on]
        assert np.corrcoef(bright, u)[0, 1] > 0.5


def test_parts_are_told_by_label_and_island() -> None:
    labels = np.full((1, 4), CELEBAMASK19.value("skin"), np.uint8)
    labels[0, 1] = CELEBAMASK19.value("r_eye")
    uv = np.zeros((1, 4, 2))
    uv[0, :3, 0] = 0.2, 0.9, 0.6
    covered = np.array([[True, True, True, False]])
    assert parts_of(labels, uv, covered).tolist() == [[1, 3, 4, 0]]


def test_what_cannot_be_read_says_so(folder: Path) -> None:
    (folder / "maps" / "0.npz").write_bytes(b"no archive")
    sets = [open_charts(str(folder), "train", 32), open_charts(str(folder), "val", 32)]

    def read_all() -> None:
        for data in sets:
            for i in range(len(data)):
                data.sample(i, np.random.default_rng(i))

    with pytest.raises(DataError, match=r"0\.npz"):
        read_all()
    with pytest.raises(DataError, match="world:count"):
        open_charts("world:many", "train", 32)
    (folder / "maps").rename(folder / "elsewhere")
    with pytest.raises(DataError, match="maps/"):
        open_charts(str(folder), "train", 32)
