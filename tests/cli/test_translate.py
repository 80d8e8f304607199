"""`pentimento convert` and `pentimento translate`, from an official file to a painted picture."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from pentimento import models
from pentimento.cli.convert import command as convert
from pentimento.cli.translate import command as translate
from pentimento.compat.translation import save_official
from pentimento.errors import CheckpointError, ConfigError, PentimentoError, PictureError
from pentimento.files.pictures import open_picture
from pentimento.session.translation import Translator
from pentimento.structures import Picture
from pentimento.systems.generate.cyclegan import CycleGAN, tiny
from pentimento.systems.generate.pix2pix import Config, Pix2Pix
from pentimento.systems.generate.super_resolution import SuperResolution
from pentimento.systems.generate.super_resolution import tiny as enlarging


def call(command: object, *words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    save_official(CycleGAN(tiny()), folder / "official")
    done = call(convert, folder / "official", "-o", folder / "ours")
    assert done.exit_code == 0, done.output
    return folder / "ours"


def paint(path: Path, shape: tuple[int, ...], dtype: type = np.uint8) -> Path:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    assert cv2.imwrite(str(path), pixels)
    return path


def test_a_picture_keeps_its_size_and_depth(model: Path, tmp_path: Path) -> None:
    for shape, dtype in (((33, 50, 3), np.uint8), ((40, 21), np.uint16)):
        source, out = paint(tmp_path / "in.png", shape, dtype), tmp_path / "out.png"
        done = call(translate, source, "-o", out, "--model", model)
        assert done.exit_code == 0, done.output
        painted = open_picture(out)
        assert painted.pixels.shape == (*shape[:2], 3)
        assert painted.pixels.dtype == dtype
        assert painted.pixels.std() > 0


def test_a_model_that_enlarges_enlarges_transparency_with_the_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    models.save(SuperResolution(enlarging()), tmp_path / "model", "# A toy")
    source, out = paint(tmp_path / "in.png", (20, 31, 4)), tmp_path / "out.png"
    done = call(translate, source, "-o", out, "--model", tmp_path / "model")
    assert done.exit_code == 0, done.output
    painted, before = open_picture(out), open_picture(source)
    assert painted.pixels.shape == (40, 62, 3)
    assert painted.alpha is not None
    assert before.alpha is not None
    assert painted.alpha.shape == (40, 62)
    assert painted.alpha[::2, ::2].mean() == pytest.approx(before.alpha.mean(), rel=0.05)


def test_little_memory_paints_the_same(model: Path, tmp_path: Path) -> None:
    source = paint(tmp_path / "in.png", (301, 97, 3))
    written = []
    for memory in ("0.0001", "1"):
        out = tmp_path / f"{memory}.png"
        done = call(translate, source, "-o", out, "--model", model, "--memory", memory)
        assert done.exit_code == 0, done.output
        written.append(open_picture(out).pixels.astype(int))
    assert written[0].shape == (301, 97, 3)
    assert np.abs(written[0] - written[1]).max() <= 1


def test_both_directions_differ(model: Path, tmp_path: Path) -> None:
    source = paint(tmp_path / "in.png", (32, 32, 3))
    written = []
    for way in ("AtoB", "BtoA"):
        call(translate, source, "-o", tmp_path / f"{way}.png", "--model", model, "--direction", way)
        written.append((tmp_path / f"{way}.png").read_bytes())
    assert written[0] != written[1]


def test_a_folder_goes_on_after_what_cannot_be_read(model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    paint(photos / "a.png", (20, 30, 3))
    paint(photos / "c.jpg", (30, 20, 3))
    (photos / "b.png").write_bytes(b"no picture")
    done = call(translate, photos, "-o", tmp_path / "out", "--model", model)
    assert done.exit_code == 1
    assert "b.png" in done.output
    assert "2 of 3 pictures" in done.output
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.png", "c.png"}


def test_a_model_goes_back_to_official_files(model: Path, tmp_path: Path) -> None:
    done = call(convert, model, "--to", "official", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    for name in ("G_A", "G_B", "D_A", "D_B"):
        ours, theirs = (
            torch.load(folder / f"latest_net_{name}.pth", weights_only=True)
            for folder in (tmp_path, model.parent / "official")
        )
        assert ours.keys() == theirs.keys()
        assert all(ours[key].equal(theirs[key]) for key in ours)


def fails(command: object, *words: object) -> PentimentoError:
    error = call(command, *words).exception
    assert isinstance(error, PentimentoError)
    return error


def test_faults_say_what_to_do(model: Path, tmp_path: Path) -> None:
    source = paint(tmp_path / "in.png", (20, 20, 3))
    assert "itself" in str(fails(translate, source, "-o", source, "--model", model))
    assert isinstance(fails(convert, tmp_path / "no.pth", "-o", tmp_path / "m"), CheckpointError)
    colours = CycleGAN(replace(tiny(), a_channels=1, keep="luminance", identity_weight=0.0))
    models.save(colours, tmp_path / "colours", "# A toy")
    back = fails(convert, tmp_path / "colours", "--to", "official", "-o", tmp_path / "back")
    assert "keeps the luminance" in str(back)
    again = fails(convert, model.parent / "official", "-o", model)
    assert "already holds a model" in str(again)


def test_a_folder_does_not_go_into_a_file(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    paint(tmp_path / "in" / "a.png", (8, 8, 3))
    (tmp_path / "out").write_text("mine")
    told = fails(translate, tmp_path / "in", "-o", tmp_path / "out", "--model", model)
    assert "is a file" in str(told)
    assert (tmp_path / "out").read_text() == "mine"


def saved(folder: Path, **values: object) -> Path:
    models.save(Pix2Pix(Config(**{**SMALL, **values})), folder, "# a card\n")
    return folder


SMALL = {"size": 32, "load_size": 32, "depth": 2, "width": 4, "critic": "none", "dropout": "off"}


def test_labels_in_and_labels_out(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", in_channels=6, out_channels=9)
    grey = Picture(np.full((17, 23, 1), 5, np.uint8), "grey")
    painted = Translator(model).translate(grey)
    assert (painted.mode, painted.pixels.shape, painted.pixels.dtype) == ("grey", (17, 23, 1), "u1")
    assert painted.pixels.max() < 9
    with pytest.raises(PictureError, match="class numbers"):
        Translator(model).translate(Picture(np.zeros((17, 23, 3), np.uint8)))
    with pytest.raises(ConfigError, match="AtoB only"):
        Translator(model, "BtoA")


def test_alpha_stays_or_is_painted(tmp_path: Path) -> None:
    alpha = np.arange(20 * 24, dtype=np.uint8).reshape(20, 24)
    source = Picture(np.zeros((20, 24, 3), np.uint8), alpha=alpha, dpi=(300.0, 300.0))
    kept = Translator(saved(tmp_path / "rgb")).translate(source)
    assert kept.alpha is not None
    assert np.array_equal(kept.alpha, alpha)
    assert kept.dpi == source.dpi
    painted = Translator(saved(tmp_path / "rgba", in_channels=4, out_channels=4)).translate(source)
    assert painted.alpha is not None
    assert not np.array_equal(painted.alpha, alpha)
