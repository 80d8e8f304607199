import pickle
from pathlib import Path

import pytest
import torch

from pentimento.compat.portrait import NETWORKS, from_official, read_official, to_official
from pentimento.errors import CheckpointError
from pentimento.models import weights
from pentimento.systems.generate.portrait import Portrait, paper


def test_every_tensor_of_the_paper_model_has_an_official_place_and_comes_back() -> None:
    with torch.device("meta"):
        ours = weights(Portrait(paper()).networks)
    covered: set[str] = set()
    for network, (path, _) in NETWORKS.items():
        state = {k.removeprefix(path): v for k, v in ours.items() if k.startswith(path)}
        official = to_official(network, state)
        assert from_official(network, official).keys() == state.keys()
        covered |= {path + key for key in state}
    assert covered == ours.keys()  # the parser is a judge, not a part of the model


def test_official_left_is_the_pictures_left(tmp_path: Path) -> None:
    torch.save({"conv.0.conv.bias": torch.ones(64)}, tmp_path / "latest_net_encoder_left_eye.pth")
    assert list(read_official(tmp_path)) == ["encoders.parts.right_eye.blocks.0.0.bias"]


def test_full_resolution_critic_is_the_official_scale1() -> None:
    state = from_official("D", {"module.scale1_layer0.0.bias": torch.ones(64)})
    assert list(state) == ["scales.0.layers.0.0.bias"]


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    torch.save({"netG.weight": torch.ones(1)}, tmp_path / "latest_net_G.pth")
    with pytest.raises(CheckpointError, match=r"'netG\.weight' is no parameter"):
        read_official(tmp_path)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    witness = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (witness,))

    (tmp_path / "latest_net_G.pth").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError, match="plain tensors"):
        read_official(tmp_path)
    assert not witness.exists()


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no latest_net_"):
        read_official(tmp_path)
