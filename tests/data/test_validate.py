"""What `pentimento validate` finds in every layout, one planted fault at a time."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from pentimento.cli.validate import command
from pentimento.data.pairs import open_pairs
from pentimento.data.validate import Report, validate
from pentimento.errors import DataError


def write(path: Path, shape: tuple[int, ...] = (12, 16, 3), value: int = 3, bits: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, np.uint8 if bits == 8 else np.uint16)
    assert cv2.imwrite(str(path), pixels)
    return path


NAMES = (0, 1, 2, 23)
"""Of which the last is held out, by the hash of its name."""


def hd(folder: Path) -> Path:
    for n in NAMES:
        write(folder / "train_img" / f"{n}_leftImg8bit.png")
        write(folder / "train_label" / f"{n}_gtFine_labelIds.png", (12, 16))
        write(folder / "train_inst" / f"{n}_gtFine_instanceIds.png", (12, 16), 26001, 16)
    return folder


def pairs(folder: Path) -> Path:
    for n in NAMES:
        write(folder / "A" / f"{n}.png")
        write(folder / "B" / f"{n}.jpg")
    return folder


def halves(folder: Path) -> Path:
    for phase in ("train", "val"):
        write(folder / phase / "0.png")
    return folder


def domains(folder: Path) -> Path:
    for n in range(2):
        write(folder / "trainA" / f"a{n}.png")
        write(folder / "trainB" / f"b{n}.png", (9, 9), bits=16)
        write(folder / "testA" / f"a{n}.png")
        write(folder / "testB" / f"b{n}.png", (9, 9), bits=16)
    return folder


def faces(folder: Path) -> Path:
    for n in range(2):
        write(folder / "images" / f"{n}.png", (8, 8, 3))
        write(folder / "labels" / f"{n}.png", (8, 8))
    return folder


def objects(folder: Path) -> Path:
    """Lay out four pictures with one object each."""
    for n in range(4):
        write(folder / "images" / f"{n}.png")
    table = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(4)],
        "annotations": [{"image_id": n, "category_id": 1, "bbox": [1, 2, 3, 4]} for n in range(4)],
        "categories": [{"id": 1, "name": "cup"}],
    }
    (folder / "instances.json").write_text(json.dumps(table))
    return folder


def replaced(old: str, new: str) -> Callable[[Path], int]:
    """Return what changes the first such text of a file."""
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


def test_boxes_and_truths_are_counted(tmp_path: Path) -> None:
    report = validate(str(objects(tmp_path / "objects")))
    assert report.problems == []
    assert sorted(report.counts.values()) == [4, 4]
    folder = faces(tmp_path / "faces")
    (folder / "truths").mkdir()
    (folder / "truths" / "0.json").write_text("{}")
    report = validate(str(folder))
    assert report.problems == []
    assert any("no truths for 1" in note.what for note in report.notes)
    (folder / "truths" / "1.json").write_text("[")
    assert [each.what[:17] for each in validate(str(folder)).problems] == ["is no JSON object"]


@pytest.mark.parametrize("make", [hd, pairs, halves, domains, faces])
def test_what_is_well_has_no_problems(make: Callable[[Path], Path], tmp_path: Path) -> None:
    report = validate(str(make(tmp_path)))
    assert report.problems == []
    assert sum(report.counts.values()) == sum(1 for p in tmp_path.rglob("*") if p.is_file())


FAULTS = {
    "unreadable": (pairs, "A/1.png", lambda p: p.write_bytes(b"x"), "1.png", 2),
    "cut off": (halves, "train/0.png", lambda p: p.write_bytes(p.read_bytes()[:60]), "0.png", 2),
    "lonely": (pairs, "B/2.jpg", Path.unlink, "2 has no partner in", 1),
    "other size": (pairs, "B/0.jpg", lambda p: write(p, (12, 15, 3)), "15×12", 1),
    "same name": (pairs, "A/1.tif", write, "has the name of 1.png", 1),
    "odd": (halves, "val/1.png", lambda p: write(p, (8, 15, 3)), "15 pixels wide", 1),
    "colours": (hd, "train_label/0_gtFine_labelIds.png", write, "not colours", 2),
    "class": (hd, "train_label/1_gtFine_labelIds.png", lambda p: write(p, (12, 16), 40), "[40]", 1),
    "instances": (hd, "train_inst/1_gtFine_instanceIds.png", write, "holds integers", 2),
    "not square": (faces, "images/0.png", lambda p: write(p, (8, 9, 3)), "not square", 2),
    "no table": (objects, "instances.json", lambda p: p.write_text("["), "no COCO file", 1),
    "not listed": (objects, "images/2.png", Path.unlink, "lists 2.png", 1),
    "nowhere": (
        objects,
        "instances.json",
        replaced('"image_id": 3', '"image_id": 9'),
        "1 objects of a pic",
        1,
    ),
    "nameless": (
        objects,
        "instances.json",
        replaced('"category_id": 1', '"category_id": 2'),
        "a name",
        1,
    ),
    "no extent": (objects, "instances.json", replaced("3, 4]", "3, 0]"), "without a box", 1),
    "beyond 19": (faces, "labels/0.png", lambda p: write(p, (8, 8), 19), "[19]", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_with_its_remedy(fault: str, tmp_path: Path) -> None:
    make, path, harm, words, count = FAULTS[fault]
    harm(make(tmp_path) / path)
    problems = validate(str(tmp_path), classes=35 if make is hd else None).problems
    assert len(problems) == count, problems
    assert any(words in f"{each.where}: {each.what}" for each in problems)
    assert all(each.mend for each in problems)


def test_partners_of_domains_are_asked_for_only_where_they_are_wanted(tmp_path: Path) -> None:
    domains(tmp_path)
    assert len(validate(str(tmp_path), paired=True).problems) == 8
    (tmp_path / "testB" / "b0.png").unlink()
    assert validate(str(tmp_path)).problems == []


def test_notes_do_not_fail(tmp_path: Path) -> None:
    hd(tmp_path)
    write(tmp_path / "train_img" / "1_leftImg8bit.png", (12, 16))
    (tmp_path / "train_img" / "readme.txt").write_text("hello")
    report = validate(str(tmp_path))
    assert not report.problems
    said = " ".join(each.what for each in report.notes)
    assert "several modes: 3 of 3 × 8 bits, 1 of 1 × 8 bits" in said
    assert "ignored: 1 × .txt" in said
    assert "classes 3..3 occur" in said
    assert "4 files are few to hold a tenth back" in said


def test_folders_without_a_common_name_are_unpaired(tmp_path: Path) -> None:
    pairs(tmp_path)
    for path in (tmp_path / "B").iterdir():
        path.rename(path.with_stem(f"{path.stem}3"))  # 23 becomes 233, and 2 becomes 23
    (tmp_path / "A" / "23.png").rename(tmp_path / "A" / "27.png")
    report = validate(str(tmp_path))
    assert report.layout == "A/ and B/, unpaired"
    assert not report.problems
    assert any("no name is in both" in each.what for each in report.notes)
    assert len(validate(f"{tmp_path / 'A'},{tmp_path / 'B'}", paired=True).problems) == 8


@pytest.mark.parametrize("make", [hd, pairs])
def test_a_split_without_files_is_a_problem(make: Callable[[Path], Path], tmp_path: Path) -> None:
    for path in [p for p in make(tmp_path).rglob("23*") if p.is_file()]:
        path.unlink()
    problems = validate(str(tmp_path)).problems
    assert {each.what.partition(",")[0] for each in problems} == {
        "none of its 3 files falls into val"
    }
    with pytest.raises(DataError, match="none of its 3 files falls into val"):
        open_pairs(str(tmp_path), "val", load_size=8, size=8, channels=(3, 3))


def test_two_folders_and_no_layout(tmp_path: Path) -> None:
    pairs(tmp_path)
    report: Report = validate(f"{tmp_path / 'A'},{tmp_path / 'B'}")
    assert report.layout == "two folders of partners"
    assert not report.problems
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no known layout"):
        validate(str(tmp_path / "empty"))
    with pytest.raises(DataError, match="no such folder"):
        validate(str(tmp_path / "nowhere"))


def test_the_verb_reports_and_fails(tmp_path: Path) -> None:
    pairs(tmp_path / "data")
    words = [str(tmp_path / "data"), "--json", str(tmp_path / "report.json")]
    assert CliRunner().invoke(command, words).exit_code == 0
    (tmp_path / "data" / "A" / "1.png").unlink()
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 1
    assert "problem: " in done.output
    assert "To mend: add it, or remove the one." in done.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"][str(tmp_path / "data" / "A")] == 3
    assert report["problems"][0]["where"].endswith("B")
