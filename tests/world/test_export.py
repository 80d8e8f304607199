"""The export folder: complete, readable by others, resumable, and never mixed."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pentimento.cli import cli
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19
from pentimento.world import export
from pentimento.world.export import Request, contact_sheet, export_portraits
from pentimento.world.portraits import portrait

SMALL = Request(seed=40, size=32)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_export_writes_what_portrait_returns(tmp_path: Path) -> None:
    assert list(export_portraits(tmp_path / "faces", 2, SMALL)) == [0, 1]
    made = portrait(41, 32)
    folder = tmp_path / "faces"
    with Image.open(folder / "images/000001.png") as picture:
        assert np.array_equal(np.asarray(picture), made.picture)
    with Image.open(folder / "labels/000001.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), made.labels.values)
        palette = np.array(mask.getpalette()).reshape(-1, 3)
    assert palette[: len(CELEBAMASK19)].tolist() == [list(c) for c in CELEBAMASK19.colours]
    with np.load(folder / "maps/000001.npz", allow_pickle=False) as maps:
        assert np.array_equal(maps["depth"], made.depth)
        assert np.array_equal(maps["covered"], made.uv.covered)
    truths = json.loads((folder / "truths/000001.json").read_text())
    assert truths["seed"] == 41
    assert {len(points) for points in truths["landmarks"].values()} == {5, 68, 98}
    assert truths["box"] == pytest.approx(made.box.xyxy[0].tolist(), abs=0.01)
    np.testing.assert_allclose(truths["vertices"], made.vertices.rows(), atol=0.01)


def test_export_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(export_portraits(tmp_path / "whole", 3, SMALL))
    broken = tmp_path / "broken"
    real = export.write

    def fail(path: Path, data: bytes) -> None:
        if path.name == "000001.npz":
            raise OSError(28, "No space left on device")
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(export, "write", fail)
        with pytest.raises(DataError, match="portrait 1 could not be written"):
            list(export_portraits(broken, 3, SMALL))
    assert not (broken / "truths/000001.json").exists()
    assert list(export_portraits(broken, 3, SMALL)) == [0, 1, 2]
    assert snapshot(broken) == snapshot(tmp_path / "whole")


def test_export_grows_and_keeps_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    list(export_portraits(folder, 1, SMALL))
    before = (folder / "images/000000.png").stat().st_mtime_ns
    list(export_portraits(folder, 2, SMALL))
    assert (folder / "images/000000.png").stat().st_mtime_ns == before
    assert json.loads((folder / "manifest.json").read_text())["count"] == 2


def test_export_refuses_another_request_and_other_folders(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    list(export_portraits(folder, 1, SMALL))
    with pytest.raises(DataError, match="size 32, asked 64"):
        list(export_portraits(folder, 1, Request(seed=40, size=64)))
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="not a manifest"):
        list(export_portraits(folder, 1, SMALL))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/holiday.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="holds no export"):
        list(export_portraits(tmp_path / "full", 1, SMALL))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(["--count", "0"], "at least 1"), (["--size", "4"], "--size"), (["--seed", "-3"], "--seed"),
     (["--heads", "nowhere"], "nowhere")],
)  # fmt: skip
def test_command_refuses_bad_input(tmp_path: Path, wrong: list[str], message: str) -> None:
    arguments = ["world", "portraits", "--count", "1", "--size", "32", "--out", str(tmp_path / "x")]
    result = CliRunner().invoke(cli, arguments + wrong)
    assert message in str(result.exception)


def test_command_writes_portraits_and_a_sheet(tmp_path: Path) -> None:
    out, sheet = tmp_path / "faces", tmp_path / "sheet.png"
    arguments = ["world", "portraits", "--count", "3", "--size", "32", "--format", "jpg"]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(out), "--sheet", str(sheet)])
    assert result.exit_code == 0, result.output
    assert len(list((out / "images").glob("*.jpg"))) == 3
    with Image.open(sheet) as picture:
        assert picture.size == (64, 64)


def test_contact_sheet_fills_rows() -> None:
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in (1, 2, 3)]
    sheet = contact_sheet(pictures, columns=2)
    assert sheet[..., 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 0, 0], [3, 3, 0, 0]]
