"""pix2pixHD's folders: pictures, classes and instances that belong together."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pentimento.data.labelled import open_labelled
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19

RNG = np.random.default_rng(0)
SIZE = (8, 16)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for phase, count in (("train", 3), ("test", 1)):
        for n in range(count):
            labels = np.zeros((16, 32), np.uint8)
            labels[:, :8] = 5
            things = np.where(labels == 5, 26_001, 7).astype(np.uint16)
            image = np.full((16, 32, 3), n, np.uint8)
            write(tmp_path / f"{phase}_label" / f"x{n}_gtFine_labelIds.png", labels)
            write(tmp_path / f"{phase}_inst" / f"x{n}_gtFine_instanceIds.png", things)
            write(tmp_path / f"{phase}_img" / f"x{n}_leftImg8bit.png", image)
    return tmp_path


def test_the_three_files_of_a_picture_come_together(folder: Path) -> None:
    data = open_labelled(str(folder), "val", SIZE, 6)
    sample = data.sample(0, RNG)
    assert len(data) == 1
    assert sample.image.shape == (*SIZE, 3)
    assert sample.labels.shape == sample.instances.shape == SIZE
    assert sample.labels[0].tolist() == [5] * 4 + [0] * 12
    assert sample.instances[0].tolist() == [26_001] * 4 + [7] * 12


def test_half_of_the_training_pictures_are_mirrored_whole(folder: Path) -> None:
    data = open_labelled(str(folder), "train", SIZE, 6)
    draws = [data.sample(n % 3, np.random.default_rng(n)) for n in range(20)]
    assert {int(draw.image.flat[0]) for draw in draws} == {0, 1, 2}
    turned = [draw for draw in draws if draw.labels[0, -1] == 5]
    assert 0 < len(turned) < 20
    assert all(((d.labels == 5) == (d.instances == 26_001)).all() for d in draws)


def test_without_instances_classes_are_the_things(folder: Path) -> None:
    for phase in ("train", "test"):
        for path in (folder / f"{phase}_inst").iterdir():
            path.unlink()
        (folder / f"{phase}_inst").rmdir()
    sample = open_labelled(str(folder), "val", SIZE, 6).sample(0, RNG)
    assert np.array_equal(sample.instances, sample.labels)


def test_faults_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"x0_gtFine_labelIds\.png: classes \[5\]"):
        open_labelled(str(folder), "val", SIZE, 5).sample(0, RNG)
    (folder / "train_inst" / "x1_gtFine_instanceIds.png").unlink()
    with pytest.raises(DataError, match="without a partner: x1"):
        open_labelled(str(folder), "train", SIZE, 6)
    write(folder / "test_label" / "x0_gtFine_labelIds.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError, match="one size"):
        open_labelled(str(folder), "val", SIZE, 6).sample(0, RNG)
    write(folder / "test_inst" / "x0_gtFine_instanceIds.png", np.zeros((16, 32, 3), np.uint8))
    with pytest.raises(DataError, match="holds integers"):
        open_labelled(str(folder), "val", SIZE, 6).sample(0, RNG)


def test_faces_have_their_parts_as_things(tmp_path: Path) -> None:
    labels = np.zeros((16, 16), np.uint8)
    labels[:, 10:] = CELEBAMASK19.value("r_eye")
    for person in range(12):
        write(tmp_path / "labels" / f"{person}.png", labels)
        write(tmp_path / "images" / f"{person}.png", np.zeros((16, 16, 3), np.uint8))
    data = open_labelled(str(tmp_path), "train", (16, 16), 19)
    draws = [data.sample(0, np.random.default_rng(n)) for n in range(12)]
    eyes = {int(draw.labels.max()) for draw in draws}
    assert eyes == {CELEBAMASK19.value("l_eye"), CELEBAMASK19.value("r_eye")}
    assert all(np.array_equal(draw.labels, draw.instances) for draw in draws)
