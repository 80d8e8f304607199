"""Official checkpoints: strict both ways, and nothing in a file is executed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pentimento.compat import maskgan, stylegan2, swapping_autoencoder
from pentimento.compat.checkpoints import load_official
from pentimento.compat.official import KeyMap, read_pth
from pentimento.errors import CheckpointError
from pentimento.nn.stylegan import Critic
from pentimento.systems.generate import maskgan as maskgan_system
from pentimento.systems.generate import swapping_autoencoder as swapping_system

SWAP = swapping_system.tiny()
MASK = maskgan_system.tiny()
NETWORKS: list[tuple[KeyMap, nn.Module]] = [
    (maskgan.generator(MASK.downs, MASK.blocks), maskgan_system.DenseMapping(MASK)),
    (maskgan.blender(), maskgan_system.Blender(4)),
    (
        swapping_autoencoder.whole(SWAP.structure_downs),
        swapping_system.SwappingAutoencoder(SWAP).networks,
    ),
    (stylegan2.CRITIC, Critic(16, 64, 8)),
]


@pytest.mark.parametrize(("keys", "network"), NETWORKS, ids=lambda x: getattr(x, "network", ""))
def test_names_go_there_and_back(keys: KeyMap, network: nn.Module) -> None:
    ours = network.state_dict()
    official = keys.to_official(ours)
    assert len(official) >= len(ours)
    back = keys.from_official(official, ours)
    assert back.keys() == ours.keys()
    assert all(back[key] is ours[key] for key in ours)


def test_missing_unknown_and_misshapen_keys_are_named() -> None:
    keys, network = NETWORKS[1]
    ours = network.state_dict()
    official = keys.to_official(ours)
    for wrong, named in (
        ({k: t for k, t in official.items() if k != "model.1.bias"}, "model.1.bias"),
        (official | {"surprise": torch.zeros(1)}, "surprise"),
        (official | {"model.1.bias": torch.zeros(99)}, r"model.1.bias.*\(99,\).*\(4,\)"),
    ):
        with pytest.raises(CheckpointError, match=named):
            keys.from_official(wrong, ours)


def test_a_file_of_tensors_is_read_and_its_parallel_prefix_removed(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(2)}, tmp_path / "net.pth")
    assert read_pth(tmp_path / "net.pth")["a"].tolist() == [1, 1]


def test_an_official_generator_paints_the_same_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = maskgan_system.DenseMapping(MASK)
    keys = maskgan.generator(MASK.downs, MASK.blocks)
    torch.save(keys.to_official(net.state_dict()), tmp_path / "latest_net_G.pth")
    system, notes = load_official(tmp_path / "latest_net_G.pth")
    assert "size" in notes
    x = torch.rand(1, 19, 32, 32), torch.rand(1, 19, 32, 32), torch.rand(1, 3, 32, 32)
    assert torch.equal(system.networks["generator"](*x), net(*x))


def test_a_whole_swapping_checkpoint_is_read_at_its_own_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = swapping_system.SwappingAutoencoder(SWAP)
    keys = swapping_autoencoder.whole(SWAP.structure_downs)
    torch.save(keys.to_official(theirs.networks.state_dict()), tmp_path / "8k_checkpoint.pth")
    ours, _ = load_official(tmp_path / "8k_checkpoint.pth")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(ours.swap(picture, 255 - picture), theirs.swap(picture, 255 - picture))
    assert (ours.config.size, ours.config.patch) == (SWAP.size, SWAP.patch)


def test_another_network_is_told_from_its_keys(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="conv"):
        load_official(tmp_path / "other.pth")


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (Path.touch, (Path("exploded"),))


def test_a_file_with_anything_else_is_refused_unexecuted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Bomb()}, "bomb.pth")
    torch.save([1, 2], "list.pth")
    Path("cut.pth").write_bytes(Path("bomb.pth").read_bytes()[:50])
    for name in ("bomb.pth", "list.pth", "cut.pth", "absent.pth"):
        with pytest.raises(CheckpointError, match=name):
            read_pth(Path(name))
    assert not Path("exploded").exists()
