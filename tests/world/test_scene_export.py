"""Exports of scenes: COCO's own library reads them back, they resume, and clips carry flow."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools.coco import COCO

from pentimento.cli import cli
from pentimento.errors import DataError
from pentimento.world import scene_export
from pentimento.world.scene_export import SceneRequest, export_scenes, run_lengths
from pentimento.world.scenes import scene

SMALL = SceneRequest(seed=8, size=64)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def decode(runs: dict[str, list[int]]) -> np.ndarray:
    values = np.arange(len(runs["counts"])) % 2
    return np.repeat(values, runs["counts"]).reshape(runs["size"], order="F").astype(bool)


@pytest.mark.parametrize("rows", [["00", "00"], ["11", "11"], ["10", "11"], ["01", "00"]])
def test_run_lengths_count_columns_zeros_first(rows: list[str]) -> None:
    mask = np.array([[char == "1" for char in row] for row in rows])
    runs = run_lengths(mask)
    assert np.array_equal(decode(runs), mask)
    assert sum(runs["counts"]) == 4
    assert all(count > 0 for count in runs["counts"][1:])


def test_export_is_read_back_as_it_was_rendered(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    assert list(export_scenes(folder, 2, SMALL)) == [0, 1]
    made = scene(8, 64)
    with Image.open(folder / "images/000000.png") as picture:
        assert np.array_equal(np.asarray(picture), made.picture)
    with Image.open(folder / "panoptic/000000.png") as coded:
        assert np.array_equal(np.asarray(coded) @ np.array([1, 256, 65536]), made.panoptic)
    with np.load(folder / "maps/000000.npz", allow_pickle=False) as maps:
        assert np.array_equal(maps["parts"], made.parts)
        assert np.array_equal(maps["depth"], made.depth)
        people = [s.face.vertices for s in made.segments if s.face]
        assert len(maps["vertices"]) == len(people)
        assert all(
            np.array_equal(rows, face.rows())
            for rows, face in zip(maps["vertices"], people, strict=True)
        )
    index = json.loads((folder / "instances.json").read_text())
    found = [a for a in index["annotations"] if a["image_id"] == 0]
    things = [s for s in made.segments if s.thing]
    assert [a["category_id"] for a in found] == [s.category for s in things]
    for annotation, segment in zip(found, things, strict=True):
        mask = decode(annotation["segmentation"])
        assert np.array_equal(mask, made.panoptic == segment.id)
        x, y, w, h = annotation["bbox"]
        assert (x, y, x + w, y + h) == segment.box
        if segment.face:
            xy = np.array(annotation["keypoints"]).reshape(68, 3)[:, :2]
            assert np.allclose(xy, segment.face.landmarks[68].xy, atol=0.01)
            assert annotation["face"]["visible"] == pytest.approx(segment.face.visible, abs=1e-4)
    panoptic = json.loads((folder / "panoptic.json").read_text())
    infos = panoptic["annotations"][0]["segments_info"]
    assert {i["id"]: i["area"] for i in infos} == {s.id: s.area for s in made.segments}
    ids = {category["id"] for category in panoptic["categories"]}
    assert {i["category_id"] for i in infos} <= ids


# pycocotools 2.0.11 has not heard of numpy's new protocol for copies.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_cocos_library_agrees(tmp_path: Path) -> None:
    list(export_scenes(tmp_path, 2, SMALL))
    index = COCO(str(tmp_path / "instances.json"))
    assert index.getImgIds() == [0, 1]
    for number in index.getAnnIds():
        (annotation,) = index.loadAnns([number])
        mask = index.annToMask(annotation)
        assert mask.sum() == annotation["area"] > 0


def test_an_interrupted_export_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(export_scenes(tmp_path / "whole", 3, SMALL))
    real = scene_export.write

    def fail(path: Path, data: bytes) -> None:
        if path.parent.name == "maps" and path.stem == "000001":
            raise OSError(28, "No space left on device")
        real(path, data)

    broken = tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(scene_export, "write", fail)
        with pytest.raises(DataError, match="scene 1 could not be written"):
            list(export_scenes(broken, 3, SMALL))
    assert not (broken / "instances.json").exists()
    assert list(export_scenes(broken, 3, SMALL)) == [0, 1, 2]
    assert files(broken) == files(tmp_path / "whole")


def test_clips_carry_flow_and_tracks(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli,
        ["world", "clips", "--count", "2", "--length", "2", "--size", "48", "--seed", "5",
         "--out", str(tmp_path / "clips"), "--sheet", str(tmp_path / "sheet.png")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    index = json.loads((tmp_path / "clips/instances.json").read_text())
    assert [(i["video_id"], i["frame_id"]) for i in index["images"]] == [
        (0, 0), (0, 1), (1, 0), (1, 1),
    ]  # fmt: skip
    assert len({a["id"] for a in index["annotations"]}) == len(index["annotations"])
    with np.load(tmp_path / "clips/flow/000002.npz", allow_pickle=False) as motion:
        assert motion["flow"].shape == (48, 48, 2)
        assert motion["valid"].dtype == bool
    assert not (tmp_path / "clips/flow/000001.npz").exists()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (96, 96)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    list(export_scenes(tmp_path, 1, SMALL))
    with pytest.raises(DataError, match="length 0, asked 4"):
        list(export_scenes(tmp_path, 1, SceneRequest(seed=8, size=64, length=4)))
    with pytest.raises(DataError, match="32 pixels or more"):
        SceneRequest(size=16)
