"""`parse` and `edit` as a person meets them: in this process for speed, and as real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import pentimento as package
from pentimento.cli import main
from pentimento.files.masks import open_mask, save_mask
from pentimento.files.pictures import open_picture, save_picture
from pentimento.structures import LabelMap, Picture

sys.path.insert(0, str(Path(__file__).parent.parent / "session"))
from stand_in import FAIR, ColourParser, draw, points

SIZE = (300, 240)
POINTS = " ".join(f"{x:.2f},{y:.2f}" for x, y in points(*SIZE))


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photo, another portrait and a meadow; the parser knows the drawing."""
    monkeypatch.setattr("pentimento.session.api._parser", lambda folder: ColourParser())
    monkeypatch.setattr("pentimento.session.api.bundled", lambda system: None)
    monkeypatch.chdir(tmp_path)
    save_picture(Picture(draw(*SIZE)), tmp_path / "photo.png")
    save_picture(Picture(draw(260, 260, hair=FAIR)), tmp_path / "other.png")
    save_picture(Picture(np.full((80, 80, 3), 90, np.uint8)), tmp_path / "meadow.png")
    return tmp_path


@pytest.fixture
def run(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["pentimento", *words])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        return Ended(status, *capsys.readouterr())

    return call


def test_parse_writes_an_indexed_mask_of_the_photo_s_size_and_an_overlay(desk: Path, run):
    ended = run("parse", "photo.png", "-o", "mask.png", "--overlay", "over.png")
    assert ended.status == 0, ended.err
    mask = Image.open(desk / "mask.png")
    assert mask.mode == "P"
    assert mask.size == SIZE
    assert mask.getpalette()[3:6] == [204, 0, 0]
    assert open_picture(desk / "over.png").pixels.shape == (240, 300, 3)
    assert "mask.png" in ended.out
    assert "face at" in ended.out


def test_parse_of_a_folder_names_the_bad_picture_and_goes_on(desk: Path, run):
    (desk / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    ended = run("parse", ".", "-o", "masks")
    assert ended.status == 1
    assert "broken.png" in ended.err
    assert "meadow.png" in ended.err
    assert sorted(p.name for p in (desk / "masks").iterdir()) == ["other.png", "photo.png"]
    assert "2 of 4 pictures parsed" in ended.out


def test_edit_paints_says_what_it_did_and_leaves_the_rest(desk: Path, run):
    ended = run(
        "edit", "photo.png", "--swap", "hair=other.png", "--restyle", "lips=other.png:0.6",
        "-o", "out.png", "--save-mask", "m.png", "--json", "report.json",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    source, result = (open_picture(desk / n).pixels for n in ("photo.png", "out.png"))
    report = json.loads((desk / "report.json").read_text())
    left, top, right, bottom = report["painted_box"]
    outside = np.ones(source.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert (source == result)[outside].all()
    assert (source != result).any()
    assert report["painter"] == "baseline"
    assert report["document"]["commands"][1]["amount"] == 0.6
    assert {"load", "see", "paint", "compose", "save"} <= set(report["seconds"])
    for said in ("swap     hair", "amount 0.6", "no portrait weights", "time     load"):
        assert said in ended.out
    assert open_mask(desk / "m.png", picture_size=(240, 300)).values.any()


def test_an_edited_mask_goes_in_and_comes_out(desk: Path, run):
    run("parse", "photo.png", "-o", "mask.png")
    mask = open_mask(desk / "mask.png")
    values = mask.values.copy()
    values[60:80, 140:170] = 13
    save_mask(LabelMap(values), desk / "edited.png")
    ended = run(
        "edit", "photo.png", "--mask", "edited.png", "-o", "out.png", "--save-mask", "m.png"
    )
    assert ended.status == 0, ended.err
    assert (open_mask(desk / "m.png").values == values).mean() > 0.999


def test_an_unchanged_mask_gives_the_photo_s_pixels(desk: Path, run):
    run("parse", "photo.png", "-o", "mask.png")
    ended = run("edit", "photo.png", "--mask", "mask.png", "-o", "out.png")
    assert "changes no pixel" in ended.out
    np.testing.assert_array_equal(
        open_picture(desk / "photo.png").pixels, open_picture(desk / "out.png").pixels
    )


def test_pictures_of_one_name_keep_their_masks_apart(desk: Path, run):
    save_picture(Picture(draw(260, 260, hair=FAIR)), desk / "photo.jpg")
    (desk / "folder.png").mkdir()
    run("parse", ".", "-o", "masks")
    names = sorted(p.name for p in (desk / "masks").iterdir())
    assert names == ["other.png", "photo.jpg.png", "photo.png.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-o notes.txt", "notes.txt is a file"),
        ("-o masks --overlay notes.txt", "notes.txt is a file"),
        ("-o .", "the folder itself"),
        ("-o masks --overlay .", "the folder itself"),
        ("-o photo.png", "one of the pictures"),
        ("-o masks --overlay masks", "cannot take both"),
    ],
)
def test_masks_of_a_folder_replace_neither_its_pictures_nor_a_file(desk: Path, run, words, said):
    (desk / "notes.txt").write_text("precious")
    kept = {p.name: p.read_bytes() for p in desk.iterdir()}
    ended = run("parse", ".", *words.split())
    assert ended.status == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert {p.name: p.read_bytes() for p in desk.iterdir() if p.is_file()} == kept


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("edit photo.png -o out.png", "nothing to do"),
        ("edit photo.png --swap hair -o out.png", "REGION=PICTURE"),
        ("edit photo.png --swap beard=other.png -o out.png", "'beard'; there are skin"),
        ("edit photo.png --swap hair=meadow.png -o out.png", "meadow.png: no face found"),
        ("edit photo.png --swap hat=other.png -o out.png", "shows no hat"),
        ("edit photo.png --restyle lips=other.png:7 -o out.png", "from 0 to 1, got 7"),
        ("edit photo.png --swap hair=nowhere.png -o out.png", "nowhere.png"),
        ("edit nowhere.png --swap hair=other.png -o out.png", "nowhere.png"),
        ("edit photo.png --swap hair=other.png -o photo.png", "one of the inputs"),
        ("edit photo.png --swap hair=other.png -o no/out.png", "does not exist"),
        ("edit photo.png --swap hair=other.png -o out.gif", "out.gif"),
        ("edit photo.png --mask meadow.png -o out.png", "meadow.png"),
        ("edit photo.png --face 7 --swap hair=other.png -o out.png", "face 7 was asked for, but 1"),
        ("edit photo.png --box 1,2 --swap hair=other.png -o out.png", "expected 4 numbers"),
        ("edit meadow.png --swap hair=other.png -o out.png", "--points"),
        ("parse meadow.png -o mask.png", "--points"),
        ("parse photo.png -o mask.jpg", "mask.jpg"),
        ("parse photo.png -o photo.png", "the photo itself"),
        ("parse photo.png -o mask.png --aligned --box 1,2,3,4", "one of them"),
    ],
)
def test_wrong_input_gets_one_clear_message_and_status_2(desk: Path, run, words: str, said: str):
    kept = (desk / "photo.png").read_bytes()
    (desk / "out.png").write_bytes(b"precious")
    ended = run(*words.split())
    assert ended.status == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert (desk / "photo.png").read_bytes() == kept
    assert (desk / "out.png").read_bytes() == b"precious"


def test_an_absent_folder_of_weights_is_named(desk: Path, run, monkeypatch: pytest.MonkeyPatch):
    from pentimento.session.models import load_parser

    monkeypatch.setattr("pentimento.session.api._parser", load_parser)
    ended = run("parse", "photo.png", "-o", "mask.png", "--parser", "nowhere")
    assert ended.status == 2
    assert "nowhere" in ended.err


SOURCE = str(Path(package.__file__).parent.parent)


def python(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": SOURCE}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True
    )


def pentimento(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "pentimento", *words, cwd=cwd)


def test_real_processes_parse_and_edit_with_a_model_folder(tmp_path: Path):
    """An untrained parser sees nonsense, but its mask goes through the whole path and back."""
    from pentimento import models
    from pentimento.systems.perceive import face_parsing

    models.save(face_parsing.FaceParsing(face_parsing.tiny()), tmp_path / "parser", "# untrained")
    save_picture(Picture(draw(*SIZE)), tmp_path / "photo.png")
    face = ("--points", POINTS, "--parser", "parser")
    parsed = pentimento("parse", "photo.png", "-o", "mask.png", *face, cwd=tmp_path)
    assert parsed.returncode == 0, parsed.stderr
    values = open_mask(tmp_path / "mask.png").values.copy()
    values[60:80, 140:170] = (values[60:80, 140:170] + 1) % 19
    save_mask(LabelMap(values), tmp_path / "edited.png")
    words = ("edit", "photo.png", "--mask", "edited.png", "-o", "out.png", "--painter", "baseline")
    edited = pentimento(*words, *face, cwd=tmp_path)
    assert edited.returncode == 0, edited.stderr
    differs = (
        open_picture(tmp_path / "out.png").pixels != open_picture(tmp_path / "photo.png").pixels
    ).any(2)
    assert differs.any()
    assert not differs[:20].any()
    refused = pentimento("edit", "photo.png", "-o", "out.png", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("pentimento: nothing to do")


@pytest.mark.parametrize(
    "code",
    [
        "import pentimento as pt; pt.__version__",
        "import pentimento as pt; pt.Picture; pt.LabelMap",
        "import pentimento.cli.edit, pentimento.cli.parse",
    ],
)
def test_importing_is_light(code: str):
    heavy = "assert not {'torch', 'lightning', 'numba'} & set(sys.modules), sorted(sys.modules)"
    ended = python("-c", f"import sys; {code}; {heavy}")
    assert ended.returncode == 0, ended.stderr


def test_the_package_imports_no_numpy_and_names_what_it_lacks():
    code = "import sys, pentimento as pt; assert 'numpy' not in sys.modules; pt.nonsense"
    ended = python("-c", code)
    assert "has no attribute 'nonsense'" in ended.stderr


@pytest.mark.parametrize("verb", ["parse", "edit"])
def test_help_shows_examples(run, verb: str):
    ended = run(verb, "--help")
    assert ended.status == 0
    assert f"pentimento {verb} photo.jpg" in ended.out
    assert "Traceback" not in ended.err
