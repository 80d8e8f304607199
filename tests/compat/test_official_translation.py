"""Official pix2pixHD and BicycleGAN files: recognised, loaded strictly, written back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from compat.test_official_pix2pix import empty
from pentimento import models
from pentimento.cli.convert import command as convert
from pentimento.cli.styles import command as styles
from pentimento.cli.translate import command as translate
from pentimento.compat import bicyclegan as bicycle_files
from pentimento.compat import pix2pixhd as hd_files
from pentimento.compat.official import read_pth
from pentimento.compat.translation import load_official, save_official
from pentimento.errors import CheckpointError
from pentimento.systems.generate.bicyclegan import BicycleGAN
from pentimento.systems.generate.bicyclegan import tiny as bicycle_tiny
from pentimento.systems.generate.pix2pixhd import Pix2PixHD, one_hot
from pentimento.systems.generate.pix2pixhd import tiny as hd_tiny

HD = replace(hd_tiny(), downs=3, size=(64, 32), scales=2, critic_layers=3)


def official(system: Any, folder: Path) -> Path:
    save_official(system, folder)
    return folder


@pytest.mark.parametrize(
    ("fixture", "wanted"),
    [
        ("pix2pixhd_global", {"enhance": False, "downs": 4, "blocks": 9, "width": 32}),
        ("pix2pixhd_local", {"enhance": True, "downs": 4, "blocks": 9, "width": 32,
                             "local_blocks": 3}),
    ],
)  # fmt: skip
def test_the_published_generators_are_recognised(fixture: str, wanted: dict[str, Any]) -> None:
    state = empty(fixture)
    assert hd_files.is_generator(state)
    fields, notes = hd_files._infer({"G": state})
    assert {key: fields[key] for key in wanted} == wanted
    first = "model1_1.1.weight" if wanted["enhance"] else "model.1.weight"
    assert fields["classes"] == state[first].shape[1] - 1
    assert "edges" in notes


def test_critic_and_encoder_tell_the_rest() -> None:
    files = {"G": empty("pix2pixhd_global"), "D": empty("pix2pixhd_multiscale_discriminator")}
    fields, _ = hd_files._infer(files)
    assert (fields["critic_width"], fields["critic_layers"]) == (64, 3)
    assert fields["scales"] == 2


@pytest.mark.parametrize("side", [128, 256])
def test_the_published_bicyclegan_is_recognised(side: int) -> None:
    g = empty(f"bicyclegan_G_unet_add_all_{side}")
    assert bicycle_files.is_generator(g)
    parts = {"E": empty("bicyclegan_E_resnet_256"), "D": empty("bicyclegan_D_basic_256_multi")}
    fields = bicycle_files._infer({"G": g, **parts})
    assert fields["depth"] == {128: 7, 256: 8}[side]
    assert (fields["style"], fields["in_channels"], fields["out_channels"]) == (8, 3, 3)
    assert (fields["encoder_width"], fields["encoder_blocks"]) == (64, 4)
    assert (fields["critic_width"], fields["critic_layers"]) == (64, 3)


@pytest.mark.parametrize(
    "system",
    [
        lambda: Pix2PixHD(HD),
        lambda: Pix2PixHD(replace(HD, features=0, local_blocks=2)),
        lambda: Pix2PixHD(replace(HD, enhance=False, feature_weight=0.0)),
        lambda: BicycleGAN(replace(bicycle_tiny(), critic_layers=2)),
    ],
    ids=["hd", "hd without features", "hd global", "bicycle"],
)
def test_there_and_back(system: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = system()
    back, notes = load_official(official(ours, tmp_path))
    kept = models.weights(back.networks)
    lost = models.weights(ours.networks).keys() - kept.keys()
    assert {key.split(".")[0] for key in lost} <= {"head"}
    assert all(("styles" in key) or value.equal(models.weights(ours.networks)[key])
               for key, value in kept.items())  # fmt: skip
    if lost:
        assert "left out" in notes["head"]
    again = official(back, tmp_path / "again")
    for path in tmp_path.glob("*.pth"):
        first, second = read_pth(path), read_pth(again / path.name)
        assert first.keys() == second.keys()
        assert all(first[key].equal(second[key]) for key in first)


def test_a_generator_alone_and_its_wrappers(tmp_path: Path) -> None:
    ours = Pix2PixHD(replace(HD, features=0))
    path = official(ours, tmp_path) / "latest_net_G.pth"
    state = {f"module.{key}": tensor for key, tensor in read_pth(path).items()}
    state["module.model.2.running_mean"] = torch.zeros(4)
    torch.save(state, path)
    back, notes = load_official(path)
    assert list(back.networks) == ["trunk", "enhancer"]
    assert "dropped" in notes["latest_net_G.pth: model.2.running_mean"]
    seen = one_hot(torch.randint(0, 19, (1, 30, 41)), 19)
    assert back.predict(seen).equal(ours.predict(seen))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = official(Pix2PixHD(HD), tmp_path) / "latest_net_G.pth"
    state = read_pth(path)
    (tmp_path / "latest_net_E.pth").unlink()
    with pytest.raises(CheckpointError, match="give the encoder's file"):
        load_official(tmp_path)
    for wrong, named in (
        (state | {"surprise": torch.zeros(1)}, "surprise"),
        ({k: v for k, v in state.items() if k != "model1_2.1.bias"}, "model1_2"),
        ({k: v[:, :4] if k in ("model.1.weight", "model1_1.1.weight") else v
          for k, v in state.items()}, "label_nc 0"),
    ):  # fmt: skip
        torch.save(wrong, path)
        with pytest.raises(CheckpointError, match=named):
            load_official(path)


def run(command: Any, *words: object) -> str:
    done = CliRunner().invoke(command, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return str(done.output)


def test_from_official_files_to_a_painted_picture(tmp_path: Path) -> None:
    theirs = official(Pix2PixHD(HD), tmp_path / "theirs")
    said = run(convert, theirs, "-o", tmp_path / "ours", "--set", "size=[64,32]")
    assert "pix2pixhd: downs 3" in said
    assert "styles" in said
    data = tmp_path / "data"
    for name in ("train_img", "train_label"):
        (data / name).mkdir(parents=True)
        for n in range(20):
            pixels = np.random.default_rng(n).integers(0, 19, (64, 32, 3), np.uint8)
            values = pixels if name == "train_img" else np.full((64, 32), n % 19, np.uint8)
            cv2.imwrite(str(data / name / f"{n}.png"), values)
    assert "styles of" in run(styles, tmp_path / "ours", "--data", data, "--limit", 5)
    picture = data / "train_label" / "3.png"
    run(translate, picture, "-o", tmp_path / "out.png", "--model", tmp_path / "ours")
    painted = cv2.imread(str(tmp_path / "out.png"))
    assert painted is not None
    assert painted.shape == (64, 32, 3)
    run(convert, tmp_path / "ours", "--to", "official", "-o", tmp_path / "one" / "x.pth")
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["x.pth"]
    assert (
        read_pth(tmp_path / "one" / "x.pth").keys()
        == read_pth(tmp_path / "theirs" / "latest_net_G.pth").keys()
    )
