from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from pentimento import models
from pentimento.cli.convert import command
from pentimento.compat import style_transfer, super_resolution
from pentimento.compat.checkpoints import convert_vgg, load_official, save_official
from pentimento.errors import CheckpointError
from pentimento.losses.perceptual import VGG, load_vgg
from pentimento.systems.generate import maskgan, portrait, spade, swapping_autoencoder
from pentimento.systems.generate.maskgan import MaskGAN
from pentimento.systems.generate.portrait import Portrait
from pentimento.systems.generate.spade import SPADE
from pentimento.systems.generate.spade import Config as SpadeConfig
from pentimento.systems.generate.style_transfer import Config as StyleConfig
from pentimento.systems.generate.style_transfer import StyleTransfer
from pentimento.systems.generate.super_resolution import Config, SuperResolution
from pentimento.systems.generate.swapping_autoencoder import SwappingAutoencoder
from pentimento.systems.perceive import face_parsing
from pentimento.systems.perceive.face_parsing import FaceParsing

PLAIN = {"judge": "none", "adversarial": "none", "adversarial_from": 0.0}


def enlarger(**values) -> SuperResolution:
    return SuperResolution(Config(**{"width": 4, "blocks": 2, "growth": 2, **PLAIN, **values}))


def test_a_style_beside_the_picture_is_not_written_back(tmp_path: Path) -> None:
    system = StyleTransfer(StyleConfig(width=4, blocks=1, beside=True))
    with pytest.raises(CheckpointError, match="beside the picture"):
        save_official(system, tmp_path)


def test_a_style_with_old_statistics_loads_and_says_what_it_dropped(tmp_path: Path) -> None:
    system = StyleTransfer(StyleConfig(width=4, blocks=2))
    network = system.networks["transformer"]
    state = style_transfer.to_official(network.state_dict())
    state["in1.running_mean"] = state["res2.in1.running_var"] = torch.zeros(4)
    torch.save(state, tmp_path / "candy.pth")
    loaded, notes = load_official(tmp_path / "candy.pth")
    assert (loaded.config.width, loaded.config.blocks) == (4, 2)
    assert {"in1.running_mean", "res2.in1.running_var", "style"} == notes.keys()
    picture = torch.rand(1, 3, 33, 40)
    assert loaded.predict(picture).equal(system.predict(picture))
    (again,) = save_official(loaded, tmp_path / "out")
    back = torch.load(again, weights_only=True)
    assert all(back[key].equal(state[key]) for key in back)


@pytest.mark.parametrize(
    ("keys", "values", "wrapper"),
    [
        (super_resolution.SRRESNET, {"scale": 2, "size": 32}, "params"),
        (super_resolution.SRRESNET, {"scale": 3, "size": 48}, "params_ema"),
        (super_resolution.SRRESNET, {"scale": 4}, None),
        (super_resolution.RRDB, {"generator": "rrdb", "scale": 2}, "params_ema"),
        (super_resolution.ESRGAN, {"generator": "rrdb"}, None),
        (super_resolution.esrgan_first(2), {"generator": "rrdb"}, None),
    ],
    ids=["msrresnet-x2", "x3", "x4", "rrdb-x2", "esrgan", "esrgan-first"],
)
def test_enlargers_of_every_age_load(keys, values, wrapper, tmp_path: Path) -> None:
    system = enlarger(**values)
    state = keys.to_official(system.networks["generator"].state_dict())
    torch.save({wrapper: state} if wrapper else state, tmp_path / "net_g.pth")
    loaded, _ = load_official(tmp_path / "net_g.pth")
    for name in ("generator", "scale", "width", "blocks"):
        assert getattr(loaded.config, name) == getattr(system.config, name)
    picture = torch.rand(1, 3, 6, 8)
    assert loaded.predict(picture).equal(system.predict(picture))


def test_the_official_names_are_those_of_the_repositories() -> None:
    state = enlarger(generator="rrdb").networks["generator"].state_dict()
    first = super_resolution.esrgan_first(2).to_official(state)
    named = super_resolution.ESRGAN.to_official(state)
    assert set(first) > {
        "model.0.weight", "model.1.sub.1.RDB3.conv5.0.bias", "model.1.sub.2.weight",
        "model.3.weight", "model.6.bias", "model.8.weight", "model.10.bias",
    }  # fmt: skip
    assert set(named) > {
        "conv_first.weight", "RRDB_trunk.1.RDB3.conv5.bias", "trunk_conv.weight",
        "upconv1.weight", "upconv2.bias", "HRconv.weight", "conv_last.bias",
    }  # fmt: skip


def test_a_damaged_enlarger_is_refused(tmp_path: Path) -> None:
    state = super_resolution.RRDB.to_official(
        enlarger(generator="rrdb").networks["generator"].state_dict()
    )
    del state["conv_hr.bias"]
    torch.save({"params": state}, tmp_path / "net_g.pth")
    with pytest.raises(CheckpointError, match=r"missing keys \['conv_hr.bias'\]"):
        load_official(tmp_path / "net_g.pth")


@pytest.mark.parametrize("depth", [16, 19])
def test_torchvisions_vgg_becomes_a_judge(depth: int, tmp_path: Path) -> None:
    whole = VGG(depth, ["conv5_3" if depth == 16 else "conv5_4"]).state_dict()
    state = {k: torch.zeros(1, 1, 3, 3) for k, v in whole.items() if v.ndim == 4}
    state |= {key.replace("weight", "bias"): torch.zeros(1) for key in state}
    state["classifier.0.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "vgg.pth")
    out = tmp_path / "vgg.safetensors"
    done = CliRunner().invoke(command, [str(tmp_path / "vgg.pth"), "-o", str(out)])
    assert f"VGG-{depth}" in done.output
    assert "classifier.0.weight" not in safetensors.torch.load_file(out)
    torch.save(VGG(16, ["relu1_1"]).state_dict(), tmp_path / "part.pth")
    assert convert_vgg(tmp_path / "part.pth", tmp_path / "part.safetensors") is None
    with pytest.raises(CheckpointError, match="is not torchvision's VGG"):
        load_vgg(out, 16 if depth == 16 else 19)  # of one channel: right names, wrong shapes


def test_the_command_converts_and_writes_back(tmp_path: Path) -> None:
    system = enlarger(growth=32)
    (path,) = save_official(system, tmp_path / "there")
    done = CliRunner().invoke(command, [str(path), "-o", str(tmp_path / "model")])
    assert done.exit_code == 0, done.output
    assert "super_resolution: generator srresnet, scale 4, blocks 2, width 4" in done.output
    done = CliRunner().invoke(
        command, [str(tmp_path / "model"), "--to", "official", "-o", str(tmp_path / "back")]
    )
    assert done.exit_code == 0, done.output
    again = torch.load(tmp_path / "back" / "latest_net_G.pth", weights_only=True)["params"]
    first = torch.load(path, weights_only=True)["params"]
    assert all(again[key].equal(first[key]) for key in first)
    assert models.load(tmp_path / "model").config == system.config


def _paper_portrait() -> Portrait:
    config = replace(portrait.paper(), width=2, code=4, critic_width=2)
    return Portrait(replace(config, parser="none", perceptual="none"))


@pytest.mark.parametrize(
    ("make", "name", "kept"),
    [
        (_paper_portrait, "", None),
        (lambda: MaskGAN(maskgan.tiny()), "latest_net_G.pth", {"generator"}),
        (lambda: SwappingAutoencoder(swapping_autoencoder.tiny()), "latest_checkpoint.pth", None),
        (lambda: SPADE(spade.tiny()), "", None),
        (lambda: FaceParsing(face_parsing.paper()), "latest_net_G.pth", None),
        (lambda: FaceParsing(face_parsing.bisenet()), "latest_iter.pth", None),
    ],
    ids=["portrait", "maskgan", "swapping_autoencoder", "spade", "unet", "bisenet"],
)
def test_what_is_written_for_the_official_code_is_read_again(make, name, kept, tmp_path) -> None:
    ours = make()
    save_official(ours, tmp_path)
    theirs, notes = load_official(tmp_path / name)
    assert type(theirs) is type(ours)
    assert set(theirs.networks) == (kept or set(ours.networks))
    assert (kept is None) or notes
    for network in theirs.networks:
        there, here = theirs.networks[network].state_dict(), ours.networks[network].state_dict()
        assert there.keys() == here.keys()
        assert all(there[key].equal(here[key]) for key in here)


def test_the_command_reads_a_maskgan_and_says_what_the_file_lacks(tmp_path: Path) -> None:
    save_official(MaskGAN(maskgan.tiny()), tmp_path)
    arguments = [str(tmp_path / "latest_net_G.pth"), "-o", str(tmp_path / "m"), "--set", "size=32"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert "only training needs them" in done.output
    system = models.load(tmp_path / "m")
    assert (system.config.size, list(system.networks)) == (32, ["generator"])


def test_a_portrait_without_its_encoders_is_refused(tmp_path: Path) -> None:
    files = save_official(_paper_portrait(), tmp_path)
    next(file for file in files if "encoder_mouth" in file.name).unlink()
    with pytest.raises(CheckpointError, match=r"parts\.mouth"):
        load_official(tmp_path)
    (tmp_path / "latest_net_G.pth").unlink()
    with pytest.raises(CheckpointError, match=r"latest_net_G\.pth"):
        load_official(tmp_path)


def test_only_networks_with_an_official_form_are_written(tmp_path: Path) -> None:
    for system in (FaceParsing(face_parsing.tiny()), Portrait(portrait.tiny())):
        with pytest.raises(CheckpointError, match="official form"):
            save_official(system, tmp_path)


def test_spade_guesses_what_its_label_maps_hold_and_says_so(tmp_path: Path) -> None:
    config = SpadeConfig(size=(64, 64), doublings=5, width=2, hidden=4, style=0, encoder_width=2,
                         critic_width=4, classes=150, unknown=True, edges=False)  # fmt: skip
    save_official(SPADE(config), tmp_path)
    loaded, notes = load_official(tmp_path / "latest_net_G.pth")
    found = loaded.config
    assert (found.classes, found.unknown, found.edges, found.style) == (150, True, False, 0)
    assert list(loaded.networks) == ["generator"]
    assert {"classes, unknown, edges", "doublings, size"} <= notes.keys()
