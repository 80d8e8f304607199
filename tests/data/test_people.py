"""People with marked surfaces: from rendered folders, and from COCO DensePose by hand."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from pentimento.data.people import PARTS, open_people, people_of, read_densepose
from pentimento.errors import DataError
from pentimento.world.actors import PARTS as WORLD_PARTS


def run_lengths(mask: np.ndarray[Any, Any], compressed: bool) -> dict[str, Any]:
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    if compressed:
        return {"size": packed["size"], "counts": packed["counts"].decode()}
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]])))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": [256, 256], "counts": counts}


def annotation(**changed: Any) -> dict[str, Any]:
    torso = np.zeros((256, 256), bool)
    torso[64:128, 32:200] = True
    head = np.zeros((256, 256), bool)
    head[:64, 100:150] = True
    masks: list[Any] = [[] for _ in range(14)]
    masks[0], masks[13] = run_lengths(torso, True), run_lengths(head, False)
    return {
        "id": 7, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [10, 20, 40, 30],
        "dp_x": [128.0, 0.0], "dp_y": [64.0, 255.5], "dp_I": [2.0, 24.0], "dp_U": [0.25, 1.0],
        "dp_V": [0.0, 0.5], "dp_masks": masks,
    } | changed  # fmt: skip


def test_masks_of_any_shape_survive_being_packed() -> None:
    for seed in range(6):
        random = np.random.default_rng(seed)
        coarse = random.random((2 ** (seed + 2),) * 2) < random.random()
        mask = np.kron(coarse, np.ones((256 // len(coarse),) * 2)).astype(bool)
        masks: list[Any] = [run_lengths(mask, True), *[[]] * 13]
        read = read_densepose(annotation(dp_masks=masks))
        assert (read.mask == mask).all()


def test_an_annotation_by_hand_is_read() -> None:
    person = read_densepose(annotation())
    assert person.frame.tolist() == [10, 20, 50, 50]
    assert person.points.tolist() == [[128, 64], [0, 255.5]]
    assert person.part.tolist() == [2, 24]
    assert person.uv.tolist() == [[0.25, 0], [1, 0.5]]
    assert (person.mask[100, 100], person.mask[30, 120], person.mask[200, 100]) == (1, 14, 0)
    bare = read_densepose({"bbox": [0, 0, 4, 4]})
    assert len(bare.points) == 0
    assert not bare.mask.any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dp_U": [0.5]}, "equally long"),
        ({"dp_I": [2, 25]}, "dp_I must be within 1..24, got 2..25"),
        ({"dp_I": [1.5, 2]}, "whole numbers"),
        ({"dp_V": [0.1, float("nan")]}, "dp_V"),
        ({"dp_x": [1, 300]}, "dp_x must be within 0..256"),
        ({"dp_masks": [[]] * 13}, "14 masks, got 13"),
        ({"dp_masks": [{"size": [64, 64], "counts": "0"}] + [[]] * 13}, "256 x 256"),
        ({"dp_masks": [{"size": [256, 256], "counts": [5]}] + [[]] * 13}, "runs of 5"),
        ({"dp_masks": [{"size": [256, 256], "counts": "o2~"}] + [[]] * 13}, "'~' among"),
        ({"bbox": [1, 2, 0, 5]}, "sides above 0"),
    ],
)
def test_damaged_annotations_say_what_is_wrong(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_densepose(annotation(**changed))


def written(folder: Path, entries: list[dict[str, Any]]) -> str:
    (folder / "photos").mkdir()
    for name in ("a", "b"):
        image = np.full((60, 80, 3), 90, np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{name}.jpg"), image)
    table = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": entries,
    }
    (folder / "people.json").write_text(json.dumps(table))
    return f"coco:{folder / 'people.json'}:{folder / 'photos'}"


def test_coco_pictures_come_with_their_people_in_the_frame(tmp_path: Path) -> None:
    entries = [annotation(), annotation(image_id=2), annotation(iscrowd=1)]
    spec = written(tmp_path, entries)
    sides = [open_people(spec, side, 160, 1, 24, augmented=False) for side in ("train", "val")]
    assert [len(side) for side in sides] == [1, 1]
    sample = sides[0].sample(0, np.random.default_rng(0))
    assert sample.image.shape == (160, 160, 3)
    # 80 x 60 at twice the size, with 20 empty rows above.
    assert sample.boxes.tolist() == [[20, 60, 100, 120]]
    (person,) = sample.people
    assert person.frame.tolist() == [20, 60, 100, 120]
    assert len(person.points) == 1
    moved = open_people(spec, "train", 64, 2, 24, augmented=True)
    for seed in range(20):
        varied = moved.sample(0, np.random.default_rng(seed))
        for box, each in zip(varied.boxes, varied.people, strict=True):
            assert (box[:2] >= each.frame[:2] - 1e-4).all()
            assert (box[2:] <= each.frame[2:] + 1e-4).all()


def test_errors_of_files_name_the_annotation_and_the_remedy(tmp_path: Path) -> None:
    spec = written(tmp_path, [annotation(dp_I=[0, 1]), annotation(image_id=2)])
    with pytest.raises(DataError, match=r"--set parts=24"):
        open_people(spec, "train", 64, 10, 15, augmented=False)
    both = [open_people(spec, side, 64, 10, 24, augmented=False) for side in ("train", "val")]
    damaged = next(side for side in both if "a.jpg" in str(side.sources[0]))
    with pytest.raises(DataError, match=r"people\.json: annotation 7: dp_I"):
        damaged.sample(0, np.random.default_rng(0))
    with pytest.raises(DataError, match=r"coco:FILE\.json:FOLDER"):
        open_people("coco:nowhere.json:there", "train", 64, 10, 24, augmented=False)
    with pytest.raises(DataError, match="pentimento world scenes"):
        open_people(str(tmp_path), "train", 64, 10, 24, augmented=False)
    (tmp_path / "people.json").write_text("{}")
    with pytest.raises(DataError, match="COCO annotations"):
        open_people(spec, "train", 64, 10, 24, augmented=False)


def test_dense_truth_becomes_points_in_the_box() -> None:
    owner = np.zeros((20, 30), np.int32)
    owner[4:14, 6:26] = 3
    parts = np.zeros((20, 30), np.uint8)
    parts[4:14, 6:16] = WORLD_PARTS.index("nose")
    parts[4:9, 16:26] = WORLD_PARTS.index("l_foot")
    parts[9:14, 16:26] = WORLD_PARTS.index("l_eye")
    y, x = np.mgrid[:20, :30]
    uv = np.stack([x / 30, y / 20], 2)
    (person,) = people_of(owner, parts, uv, 1000, np.random.default_rng(0))
    assert person.frame.tolist() == [6, 4, 26, 14]
    assert len(person.points) == 150  # eyeballs have a texture of their own
    assert set(person.part.tolist()) == {1 + PARTS.index("head"), 1 + PARTS.index("l_foot")}
    at = person.points / 256 * [20, 10] + [6, 4]
    assert np.allclose(person.uv, (at - 0.5) / [30, 20], atol=1e-5)
    assert person.mask.all()
    (few,) = people_of(owner, parts, uv, 20, np.random.default_rng(0))
    assert len(few.points) == 20
