"""What is wrong with a data folder, before a training run finds out.

Every file is decoded. A problem is what training would stop at, skip, or silently learn wrongly
from; a note is what a person may want to know. Each says how to mend it.

| layout | checked besides readability |
|---|---|
| `train/`, `val/`, `test/` side by side | the halves have one width |
| `trainA/`, `trainB/`, `testA/`, `testB/` | nothing more, or partners and sizes if `paired` |
| `train_label/`, `train_img/`, `train_inst/`, … | partners, sizes, classes, integer instances |
| `train_A/`, `train_B/`, … | partners, sizes |
| `A/` and `B/`, or `DIR_A,DIR_B` | partners, sizes; neither if no name is in both |
| `images/` and `instances.json` (COCO) | every listed picture, box and class is there |
| `images/` and `labels/` of faces | partners, sizes, squares, classes, `truths/` |
| pictures in one folder | nothing more |
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np

from pentimento.data.faces import PICTURES, read_values, split_of
from pentimento.data.labelled import read_integers
from pentimento.data.pairs import partner_name
from pentimento.errors import DataError, PictureError
from pentimento.files.pictures import open_picture
from pentimento.labels import CELEBAMASK19, IGNORE

Reads = Literal["picture", "classes", "instances"]
_PHASES: Final = ("train", "val", "test")
_BAD_SHARE: Final = 0.05  # training stops beyond it
_SPLIT_LEAST: Final = 20  # fewer files leave hardly any for validation


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or worth knowing.

    Attributes:
        where: file or folder.
        what: what is the matter.
        mend: what to do.
    """

    where: str
    what: str
    mend: str


@dataclass
class Report:
    """What was found.

    Attributes:
        layout: what the folder looks like.
        counts: files read, by folder.
        problems: to be mended.
        notes: to be known.
    """

    layout: str
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class _Seen:
    """One readable file: (height, width), channels, bits, and the values of classes."""

    path: Path
    size: tuple[int, int]
    channels: int
    bits: int
    values: frozenset[int] = frozenset()


def validate(spec: str, *, classes: int | None = None, paired: bool = False) -> Report:
    """Check everything in a data folder.

    Args:
        spec: a folder in one of the layouts above, or two folders joined by a comma.
        classes: how many there are, for folders of labels; 19 for faces, unknown otherwise.
        paired: whether `trainA/` and `trainB/`, or two folders, must hold partners.

    Raises:
        DataError: there is no such folder, or it has none of the layouts.
    """
    folders = [Path(part).expanduser() for part in spec.split(",")]
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder")
    if len(folders) == 2:
        return _two(folders, "two folders", paired=paired)
    folder = folders[0]
    if (folder / "images").is_dir() and (folder / "instances.json").is_file():
        return _objects(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return _faces(folder, classes)
    if (folder / "A").is_dir() and (folder / "B").is_dir():
        return _two([folder / "A", folder / "B"], "A/ and B/", paired=paired)
    if any((folder / f"train{end}").is_dir() for end in ("_label", "_img")):
        return _in_phases(folder, "pix2pixHD", ("_label", "_img", "_inst"), classes, paired=True)
    if any((folder / f"train_{end}").is_dir() for end in "AB"):
        return _in_phases(folder, "train_A/ and train_B/", ("_A", "_B"), None, paired=True)
    if any((folder / f"train{end}").is_dir() for end in "AB"):
        name = "trainA/ and trainB/, " + ("paired" if paired else "unpaired")
        return _in_phases(folder, name, ("A", "B"), None, paired=paired)
    if (folder / "train").is_dir():
        return _side_by_side(folder)
    if any(p.suffix.lower() in PICTURES for p in folder.iterdir()):
        report = Report("pictures in one folder")
        _read(report, folder, "picture")
        return report
    held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
    raise DataError(
        f"{folder}: no known layout; expected train/ (side by side), trainA/ + trainB/, "
        f"train_label/ + train_img/, A/ + B/, images/ + labels/, images/ + instances.json, or "
        f"pictures. It holds {held}"
    )


# --- layouts --------------------------------------------------------------------------------------


def _two(folders: Iterable[Path], layout: str, *, paired: bool) -> Report:
    report = Report(f"{layout} of partners")
    sides = {str(folder): _read(report, folder, "picture") for folder in folders}
    one, other = sides.values()
    if paired or one.keys() & other.keys():
        _check_partners(report, sides)
    else:
        report.layout = f"{layout}, unpaired"
        what = "no name is in both folders: unpaired, which is for cyclegan"
        report.notes.append(Problem(layout, what, "give partners equal names, if they are some"))
    for name, side in sides.items():
        _check_held_out(report, name, side)
    return report


def _side_by_side(folder: Path) -> Report:
    report = Report("side by side, A | B")
    for phase in _PHASES:
        if (folder / phase).is_dir():
            side = _read(report, folder / phase, "picture")
            _check_split(report, folder, phase, "", side)
            for seen in _readable(side):
                if seen.size[1] % 2:
                    report.problems.append(
                        Problem(
                            str(seen.path),
                            f"{seen.size[1]} pixels wide: its halves cannot be of one width",
                            "join A and B again, each of the same width",
                        )
                    )
    return report


def _in_phases(
    folder: Path, layout: str, ends: tuple[str, ...], classes: int | None, *, paired: bool
) -> Report:
    report = Report(layout)
    reads: dict[str, Reads] = {"_label": "classes", "_inst": "instances"}
    needed = ends[:2]
    for phase in _PHASES:
        there = [end for end in ends if (folder / f"{phase}{end}").is_dir()]
        lacking = [f"{phase}{end}/" for end in needed if end not in there]
        if there and lacking:
            report.problems.append(
                Problem(str(folder), f"{lacking[0]} is missing beside {phase}{there[0]}/", "add it")
            )
        sides = {
            f"{phase}{end}": _read(report, folder / f"{phase}{end}", reads.get(end, "picture"))
            for end in there
        }
        if paired:
            _check_partners(report, sides)
        for name, side in sides.items():
            _check_split(report, folder, phase, name.removeprefix(phase), side)
            if name.endswith("_label"):
                _check_classes(report, _readable(side), classes)
    return report


def _faces(folder: Path, classes: int | None) -> Report:
    report = Report("faces: images/ and labels/")
    images = _read(report, folder / "images", "picture")
    labels = _read(report, folder / "labels", "classes")
    _check_partners(report, {"images": images, "labels": labels})
    _check_classes(report, _readable(labels), classes or len(CELEBAMASK19))
    for seen in _readable(images):
        if seen.size[0] != seen.size[1]:
            report.problems.append(
                Problem(str(seen.path), f"{_text(seen)} is not square", "crop and align the face")
            )
    if (folder / "truths").is_dir():
        _check_truths(report, folder / "truths", images)
    return report


def _objects(folder: Path) -> Report:
    report, table = Report("objects: images/ and instances.json"), folder / "instances.json"
    _read(report, folder / "images", "picture")
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        listed = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        named = {entry["id"] for entry in content["categories"]}
        objects = [
            (entry["image_id"], entry["category_id"], [float(edge) for edge in entry["bbox"]])
            for entry in content["annotations"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        what = f"is no COCO file of instances ({error!r})"
        report.problems.append(Problem(str(table), what, "write it anew"))
        return report
    report.counts[str(table)] = len(objects)
    for name in sorted(set(listed.values())):
        if not (folder / "images" / Path(name).name).is_file():
            what = f"lists {name}, which is not in images/"
            report.problems.append(Problem(str(table), what, "add the picture, or remove it there"))
    for what, count, mend in (
        ("of a picture that is not listed", sum(o[0] not in listed for o in objects), "list it"),
        ("of a class without a name", sum(o[1] not in named for o in objects), "name the class"),
        (
            "without a box of left, top, width, height",
            sum(len(o[2]) != 4 or min(o[2][2:]) <= 0 for o in objects),
            "mend or remove them",
        ),
    ):
        if count:
            report.problems.append(Problem(str(table), f"{count} objects {what}", mend))
    return report


# --- checks ---------------------------------------------------------------------------------------


Side = Mapping[str, _Seen | None]
"""The name that partners share → the file, or None where it cannot be read."""


def _read(report: Report, folder: Path, reads: Reads) -> Side:
    """Decode every file of a folder; what cannot be read becomes a problem."""
    found: dict[str, _Seen | None] = {}
    paths_of: dict[str, Path] = {}
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    files = [p for p in paths if p.suffix.lower() in PICTURES]
    if len(files) < len(paths):
        others = Counter(p.suffix.lower() for p in paths if p not in files)
        named = ", ".join(f"{count} × {ending or 'no ending'}" for ending, count in others.items())
        report.notes.append(
            Problem(str(folder), f"ignored: {named}", f"pictures end in {', '.join(PICTURES)}")
        )
    for path in files:
        name = partner_name(path.stem)
        if name in found:
            what = f"has the name of {paths_of[name].name}; one of them would be ignored"
            report.problems.append(Problem(str(path), what, "remove or rename one"))
            continue
        found[name], paths_of[name] = None, path
        try:
            found[name] = _look(path, reads)
        except (DataError, PictureError) as error:
            what = str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
            report.problems.append(Problem(str(path), what, "write it anew, or remove it"))
    report.counts[str(folder)] = len(files)
    bad = sum(seen is None for seen in found.values())
    if not files:
        report.problems.append(Problem(str(folder), "holds no pictures", "add some"))
    elif bad > _BAD_SHARE * len(files):
        what = f"{bad} of {len(files)} files cannot be read; training stops beyond {_BAD_SHARE:.0%}"
        report.problems.append(Problem(str(folder), what, "mend them first"))
    if reads == "picture":
        _check_modes(report, folder, _readable(found))
    return found


def _readable(side: Side) -> list[_Seen]:
    return [seen for seen in side.values() if seen is not None]


def _look(path: Path, reads: Reads) -> _Seen:
    if reads == "classes":
        values = read_values(path)
        height, width = values.shape
        return _Seen(path, (height, width), 1, 8, frozenset(np.unique(values).tolist()))
    if reads == "instances":
        height, width = read_integers(path).shape
        return _Seen(path, (height, width), 1, 32)
    picture = open_picture(path)
    channels = picture.pixels.shape[2] + (picture.alpha is not None)
    size = (picture.height, picture.width)
    return _Seen(path, size, channels, 8 * picture.pixels.dtype.itemsize)


def _check_modes(report: Report, folder: Path, side: Iterable[_Seen]) -> None:
    kinds = Counter((seen.channels, seen.bits) for seen in side)
    if len(kinds) > 1:
        named = ", ".join(f"{n} of {c} × {b} bits" for (c, b), n in kinds.most_common())
        mend = "all are read alike; save them alike if one kind is there by mistake"
        report.notes.append(Problem(str(folder), f"several modes: {named}", mend))


def _check_partners(report: Report, sides: Mapping[str, Side]) -> None:
    (one, first), *others = sides.items() if sides else [("", {})]
    for other, side in others:
        for name in sorted(first.keys() ^ side.keys()):
            there, lacks = (one, other) if name in first else (other, one)
            what = f"{name} has no partner in {lacks}"
            report.problems.append(Problem(there, what, "add it, or remove the one"))
        for name in sorted(first.keys() & side.keys()):
            a, b = first[name], side[name]
            if a is not None and b is not None and a.size != b.size:
                what = f"{_text(a)}, but its partner in {other} is {_text(b)}"
                mend = "scale one to the size of the other; both show the same frame"
                report.problems.append(Problem(str(a.path), what, mend))


def _check_truths(report: Report, folder: Path, images: Side) -> None:
    truths = {path.stem: path for path in sorted(folder.glob("*.json"))}
    report.counts[str(folder)] = len(truths)
    for stem in sorted(images.keys() - truths.keys()):
        what = f"has no truths for {stem}, which landmarks and positions are learnt from"
        report.notes.append(Problem(str(folder), what, "export it anew, or remove the picture"))
    for path in truths.values():
        try:
            if not isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
                raise ValueError("no object")
        except ValueError as error:
            what = f"is no JSON object ({error})"
            report.problems.append(Problem(str(path), what, "write it anew, or remove it"))


def _check_classes(report: Report, side: Iterable[_Seen], classes: int | None) -> None:
    used: set[int] = set()
    for seen in side:
        used |= seen.values
        wrong = sorted(v for v in seen.values if classes and v >= classes and v != IGNORE)
        if wrong:
            what = f"classes {wrong[:8]} are beyond 0..{classes and classes - 1}"
            mend = f"renumber them, or mark them unknown ({IGNORE})"
            report.problems.append(Problem(str(seen.path), what, mend))
    known = sorted(used - {IGNORE})
    if classes is None and known:
        report.notes.append(
            Problem(
                "labels",
                f"classes {known[0]}..{known[-1]} occur",
                f"train with at least {known[-1] + 1} classes; check them with --classes",
            )
        )


def _check_split(report: Report, folder: Path, phase: str, end: str, side: Side) -> None:
    held_out = any((folder / f"{other}{end}").is_dir() for other in ("val", "test"))
    if phase == "train" and end != "_inst" and not held_out:
        _check_held_out(report, str(folder / f"train{end}"), side, f"put some into val{end}/")


def _check_held_out(report: Report, where: str, side: Side, mend: str = "add files") -> None:
    """Check that a tenth, chosen by name, can be held out for validation."""
    empty = [split for split in ("train", "val") if split not in map(split_of, side)]
    if side and empty:
        what = f"none of its {len(side)} files falls into {empty[0]}, where training would stop"
        report.problems.append(Problem(where, what, f"{mend}; about a tenth is held out, by name"))
    elif len(side) < _SPLIT_LEAST:
        what = f"{len(side)} files are few to hold a tenth back"
        report.notes.append(Problem(where, what, mend))


def _text(seen: _Seen) -> str:
    return f"{seen.size[1]}×{seen.size[0]}"
