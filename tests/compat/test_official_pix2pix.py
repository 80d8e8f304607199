"""Official pix2pix and CycleGAN files of any age: recognised, loaded strictly, written back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from parity.fixture import COMMITTED
from pentimento.compat.official import State, plain, read_pth
from pentimento.compat.pix2pix import infer_critic, infer_generator
from pentimento.compat.translation import load_official, save_official
from pentimento.errors import CheckpointError
from pentimento.systems.generate import cyclegan, pix2pix
from pentimento.systems.generate.cyclegan import CycleGAN
from pentimento.systems.generate.pix2pix import Pix2Pix

UNET = replace(pix2pix.tiny(), norm="instance")
RESNET = replace(pix2pix.tiny(), generator="resnet", depth=2, dropout="off", critic="pixel")


def empty(fixture: str) -> State:
    """Return tensors without storage under the official keys."""
    raw = json.loads((COMMITTED / "translation" / f"{fixture}.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in raw["state"]}


@pytest.mark.parametrize(
    ("fixture", "found"),
    [
        ("unet_128_batch", ("unet", 7, "batch", None)),
        ("unet_256_batch", ("unet", 8, "batch", None)),
        ("unet_256_instance", ("unet", 8, "instance", None)),
        ("resnet_6blocks_batch", ("resnet", 6, "batch", "off")),
        ("resnet_9blocks_batch_dropout", ("resnet", 9, "batch", "always")),
        ("resnet_9blocks_instance", ("resnet", 9, "instance", "off")),
    ],
)
def test_generators_are_recognised(fixture: str, found: tuple[object, ...]) -> None:
    config = infer_generator(empty(fixture)).config
    assert tuple(config.get(k) for k in ("generator", "depth", "norm", "dropout")) == found
    assert (config["in_channels"], config["out_channels"], config["width"]) == (3, 3, 64)


def test_critics_are_recognised() -> None:
    patch = infer_critic(empty("n_layer_discriminator")).config
    assert patch == {"critic": "patch", "critic_width": 64, "critic_layers": 3}
    assert infer_critic(empty("pixel_discriminator")).config["critic"] == "pixel"
    with pytest.raises(CheckpointError, match="no patch or pixel critic"):
        infer_critic(empty("unet_128_batch"))


@pytest.mark.parametrize("config", [UNET, RESNET, replace(RESNET, dropout="always")])
def test_pix2pix_goes_there_and_back(config: pix2pix.Config, tmp_path: Path) -> None:
    system = Pix2Pix(config)
    written = save_official(system, tmp_path)
    assert [path.name for path in written] == ["latest_net_G.pth", "latest_net_D.pth"]
    back, _ = load_official(tmp_path)
    assert isinstance(back, Pix2Pix)
    for name, tensor in system.networks.state_dict().items():
        assert back.networks.state_dict()[name].equal(tensor)
    alone, _ = load_official(tmp_path / "latest_net_G.pth")
    assert list(alone.networks) == ["generator"]
    x = torch.rand(1, 3, 64, 64)
    assert alone.predict(x).equal(system.predict(x))


def test_cyclegan_goes_there_and_back_and_one_way_alone(tmp_path: Path) -> None:
    system = CycleGAN(replace(cyclegan.tiny(), critic_layers=3))
    save_official(system, tmp_path, "7")
    back, notes = load_official(tmp_path, "7")
    assert isinstance(back, CycleGAN)
    assert not notes
    for name, tensor in system.networks.state_dict().items():
        assert back.networks.state_dict()[name].equal(tensor)
    alone, _ = load_official(tmp_path / "7_net_G_B.pth")
    x = torch.rand(1, 3, 20, 24)
    assert alone.predict(x).equal(system.predict(x, direction="BtoA"))
    with pytest.raises(CheckpointError, match="latest_net_G"):
        load_official(tmp_path)


def test_wrappers_and_old_buffers_are_removed_and_named(tmp_path: Path) -> None:
    system = Pix2Pix(replace(RESNET, norm="instance", critic="none"))
    (path,) = save_official(system, tmp_path)
    old = {f"module._orig_mod.{key}": tensor for key, tensor in read_pth(path).items()}
    old["module._orig_mod.model.2.running_mean"] = torch.zeros(4)
    old["module._orig_mod.model.2.num_batches_tracked"] = torch.tensor(0)
    torch.save(old, path)
    back, notes = load_official(path)
    assert back.config.norm == "instance"
    assert {name.split(": ")[1] for name in notes} == {
        "model.2.running_mean", "model.2.num_batches_tracked",
    }  # fmt: skip
    assert all("dropped" in why for why in notes.values())


def test_counters_that_old_files_lack_are_added_and_named() -> None:
    state = {"model.2.weight": torch.ones(4), "model.2.running_mean": torch.zeros(4)}
    today, notes = plain(state)
    assert today["model.2.num_batches_tracked"] == 0
    assert "added" in notes["model.2.num_batches_tracked"]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    (path,) = save_official(Pix2Pix(replace(UNET, critic="none")), tmp_path)
    state = read_pth(path)
    for wrong, named in (
        (state | {"surprise": torch.zeros(1)}, "surprise"),
        ({k: v for k, v in state.items() if k != "model.model.3.bias"}, r"model\.model\.3\.bias"),
        ({"a.weight": torch.zeros(1)}, "neither a U-Net nor a ResNet"),
        ({f"model.{n}.conv_block.1.weight": torch.zeros(4, 4, 3, 3) for n in (16, 17)}
         | {"model.1.weight": torch.zeros(4, 3, 7, 7)}, "pix2pixHD"),
        (state | {"module.model.model.3.bias": torch.zeros(3)}, "two networks"),
        (state | {"_orig_mod.model.model.3.bias": torch.zeros(3)}, "two networks"),
    ):  # fmt: skip
        torch.save(wrong, path)
        with pytest.raises(CheckpointError, match=named):
            load_official(path)
    with pytest.raises(CheckpointError, match="repetition"):
        save_official(Pix2Pix(replace(UNET, resize=True)), tmp_path)
