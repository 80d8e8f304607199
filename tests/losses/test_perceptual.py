from pathlib import Path

import pytest
import safetensors.torch
import torch

from pentimento.errors import CheckpointError
from pentimento.losses.perceptual import LEVEL_WEIGHTS, VGG, feature_distance, load_vgg


def test_feature_distance_by_hand() -> None:
    # One level of half the size: differences 1 and 3; the left region weighs 10, but only one of
    # the four pixels under the first feature has it; a second region weighs 5 everywhere.
    fake = torch.tensor([[[[1.0, 3.0]]]])
    where = torch.zeros(1, 2, 2, 4)
    where[0, 0, 1, 1] = 10
    where[0, 1] = 5
    loss = feature_distance([fake], [torch.zeros(1, 1, 1, 2)], [0.25], where)
    assert float(loss) == pytest.approx(0.25 * (1 * 15 + 3 * 5) / 2)


def test_vgg19_has_torchvisions_keys_and_strides() -> None:
    net = VGG()
    keys = set(net.state_dict())
    assert {"features.0.weight", "features.5.bias", "features.28.weight"} <= keys
    assert len(keys) == 26  # 13 convolutions
    seen = net(torch.zeros(1, 3, 32, 32))
    assert [tuple(x.shape[1:]) for x in seen] == [
        (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)
    ]  # fmt: skip
    assert all((x >= 0).all() for x in seen)
    assert len(LEVEL_WEIGHTS) == len(seen)


def test_vgg19_is_never_used_untrained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no readable safetensors"):
        load_vgg(tmp_path / "none.safetensors")
    file = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, file)
    with pytest.raises(CheckpointError, match=r"not torchvision's VGG-19: features\.0\.bias"):
        load_vgg(file)
