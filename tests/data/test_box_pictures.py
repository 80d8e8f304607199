import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pentimento.data.detection import open_detections
from pentimento.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(12):
        image = np.full((40, 80, 3), 60, np.uint8)
        cv2.rectangle(image, (20, 10), (39, 29), (250, 250, 250), -1)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), image)
    write(
        tmp_path, [{"image_id": n, "category_id": 7, "bbox": [20, 10, 20, 20]} for n in range(11)]
    )
    return tmp_path


def write(folder: Path, annotations: list[dict[str, Any]]) -> None:
    table = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(12)],
        "categories": [{"id": 7, "name": "box"}, {"id": 9, "name": "cup"}],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(table))


def bright(image: Any) -> list[int]:
    rows, columns = np.nonzero(image[..., 0] > 0.8 * image[..., 0].max())
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_boxes_follow_the_picture_into_the_square(folder: Path) -> None:
    data = open_detections(str(folder), "train", 80, ("cup", "box"), augmented=False)
    sample = data.sample(0, np.random.default_rng(0))
    assert sample.image.shape == (80, 80, 3)
    assert sample.boxes.tolist() == [[20, 30, 40, 50]]
    assert bright(sample.image) == [20, 30, 40, 50]
    assert sample.classes.tolist() == [1]


def test_boxes_follow_variation(folder: Path) -> None:
    data = open_detections(str(folder), "train", 160, ("box",), augmented=True)
    seen = 0
    for seed in range(20):
        sample = data.sample(0, np.random.default_rng(seed))
        if len(sample.boxes) and sample.boxes.min() > 3 and sample.boxes.max() < 157:
            assert np.abs(np.array(bright(sample.image)) - sample.boxes[0]).max() <= 4
            seen += 1
    assert seen > 5


def test_an_earlier_picture_shows_the_same_object_nearby(folder: Path) -> None:
    data = open_detections(str(folder), "train", 80, ("box",), augmented=False, paired=True)
    sample = data.sample(0, np.random.default_rng(3))
    assert sample.earlier is not None
    left, top, right, bottom = bright(sample.earlier.image)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    assert np.abs(middle - sample.earlier.middles[0]).max() <= 2


def test_frames_of_a_clip_know_the_one_before_and_stay_on_one_side(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    images, objects = [], []
    for video in range(6):
        for frame in range(3):
            number, left = 3 * video + frame, 10 + 5 * frame
            picture = np.zeros((64, 64, 3), np.uint8)
            cv2.rectangle(picture, (left, 20), (left + 9, 29), (250, 250, 250), -1)
            cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), picture)
            images.append({
                "id": number, "file_name": f"{number}.png", "video_id": video, "frame_id": frame,
            })  # fmt: skip
            about = {"image_id": number, "category_id": 7}
            objects.append({**about, "bbox": [left, 20, 10, 10], "track_id": 4})
            if frame == 2:
                objects.append({**about, "bbox": [50, 50, 10, 10], "track_id": 5})
    table = {"images": images, "annotations": objects, "categories": [{"id": 7, "name": "box"}]}
    (tmp_path / "instances.json").write_text(json.dumps(table))
    sides = [
        open_detections(str(tmp_path), side, 64, ("box",), augmented=False, paired=True)
        for side in ("train", "val")
    ]
    assert all(len(side) % 3 == 0 for side in sides)
    assert len(sides[0]) + len(sides[1]) == 18
    last = sides[0].sample(2, np.random.default_rng(0))
    assert last.boxes[0].tolist() == [20, 20, 30, 30]
    assert last.earlier is not None
    assert bright(last.earlier.image) == [15, 20, 25, 30]
    assert last.earlier.middles[0].tolist() == [20, 25]
    assert np.isnan(last.earlier.middles[1]).all()  # it was not there


def test_sides_do_not_share_pictures_and_empty_pictures_stay(folder: Path) -> None:
    write(folder, [])
    sides = [
        open_detections(str(folder), side, 32, ("box",), augmented=False)
        for side in ("train", "val")
    ]
    assert len(sides[0]) + len(sides[1]) == 12
    assert sides[0].sample(0, np.random.default_rng(0)).boxes.shape == (0, 4)


def test_classes_that_nothing_has_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="none of the classes bxo; there are box, cup"):
        open_detections(str(folder), "train", 32, ("bxo",), augmented=False)
    with pytest.raises(DataError, match=r"none of the classes prson; there are .*person"):
        open_detections("world:count=4", "train", 32, ("prson",), augmented=False)
    assert len(open_detections(str(folder), "train", 32, ("bxo", "box"), augmented=False))


@pytest.mark.parametrize("harm", ["nothing", "json", "keys"])
def test_a_folder_that_is_none_is_refused(folder: Path, harm: str) -> None:
    table = folder / "instances.json"
    if harm == "nothing":
        table.unlink()
    else:
        table.write_text("[" if harm == "json" else '{"images": []}')
    with pytest.raises(DataError, match=r"instances\.json"):
        open_detections(str(folder), "train", 32, ("box",), augmented=False)


def test_rendered_scenes_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENTIMENTO_CACHE", str(tmp_path))
    data = open_detections("world:count=3", "train", 64, ("person",), augmented=False)
    first = data.sample(1, np.random.default_rng(0))
    kept = list(tmp_path.rglob("*.npz"))
    assert len(kept) == 1
    again = data.sample(1, np.random.default_rng(0))
    assert (again.image == first.image).all()
    assert (again.boxes == first.boxes).all()
    with pytest.raises(DataError, match="count"):
        open_detections("world:count=x", "train", 64, ("person",), augmented=False)
