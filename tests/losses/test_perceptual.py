from pathlib import Path

import pytest
import safetensors.torch
import torch

from pentimento.errors import CheckpointError
from pentimento.losses.perceptual import (
    LEVEL_WEIGHTS,
    VGG,
    Judge,
    check_judge,
    feature_distance,
    gram,
    load_features,
    load_vgg,
    look_alike,
)


def test_feature_distance_by_hand() -> None:
    # One level of half the size: differences 1 and 3; the left region weighs 10, but only one of
    # the four pixels under the first feature has it; a second region weighs 5 everywhere.
    fake = torch.tensor([[[[1.0, 3.0]]]])
    where = torch.zeros(1, 2, 2, 4)
    where[0, 0, 1, 1] = 10
    where[0, 1] = 5
    loss = feature_distance([fake], [torch.zeros(1, 1, 1, 2)], [0.25], where)
    assert float(loss) == pytest.approx(0.25 * (1 * 15 + 3 * 5) / 2)


def test_gram_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # two channels, two places
    assert gram(features)[0].tolist() == [[5 / 4, 1 / 4], [1 / 4, 10 / 4]]


def test_looking_alike_counts_direction_not_length() -> None:
    x = torch.tensor([[[[3.0]], [[4.0]]]])
    assert float(look_alike([x], [2 * x])) == pytest.approx(0, abs=1e-6)
    turned = torch.tensor([[[[4.0]], [[-3.0]]]])  # at a right angle
    assert float(look_alike([x], [turned])) == pytest.approx(2)
    assert float(look_alike([x, x], [turned, x])) == pytest.approx(2)


def test_vgg_has_torchvisions_keys_and_strides() -> None:
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


@pytest.mark.parametrize(
    ("depth", "tap", "last"),
    [(16, "relu4_3", 21), (16, "relu2_2", 7), (19, "conv5_4", 34), (19, "relu3_1", 10)],
)
def test_vgg_taps_are_at_torchvisions_places(depth: int, tap: str, last: int) -> None:
    # torchvision counts convolutions, activations and poolings alike.
    net = VGG(depth, [tap])  # type: ignore[arg-type]  # parametrised
    assert max(int(key.split(".")[1]) for key in net.state_dict()) == last
    (seen,) = net(torch.randn(1, 3, 32, 32))
    assert bool((seen >= 0).all()) == tap.startswith("relu")


def test_vgg_is_never_used_untrained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no readable safetensors"):
        load_vgg(tmp_path / "none.safetensors")
    file = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, file)
    with pytest.raises(CheckpointError, match=r"not torchvision's VGG-19: features\.0\.bias"):
        load_vgg(file)
    with pytest.raises(CheckpointError, match="holds no feature network"):
        load_features(file)


def test_a_judge_sees_as_imagenet_was_seen_and_keeps_its_file(tmp_path: Path) -> None:
    taps = ["relu1_1"]
    torch.manual_seed(0)
    file = tmp_path / "vgg16.safetensors"
    state = VGG(16, taps).state_dict()
    safetensors.torch.save_file(state, file)
    judge = Judge(f"vgg16:{file}", taps)
    assert judge.digest.numel() == 0
    picture = torch.rand(1, 3, 8, 8) * 2 - 1
    (seen,) = judge(picture)
    # ImageNet's means and deviations, as torchvision documents them.
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    net, _ = load_vgg(file, 16, taps)
    assert torch.allclose(seen, net((picture / 2 + 0.5 - mean) / deviation)[0], atol=1e-6)
    assert judge.digest.numel() == 32
    (plain,) = Judge(f"vgg16:{file}", taps, imagenet=False)(picture)
    assert torch.allclose(plain, net(picture)[0], atol=1e-6)

    safetensors.torch.save_file({k: v + 1 for k, v in state.items()}, file)
    resumed = Judge(f"vgg16:{file}", taps)
    resumed.digest = judge.digest
    with pytest.raises(CheckpointError, match="not the network that this run began with"):
        resumed(picture)


def test_the_bundled_judge_lets_gradients_through_and_learns_nothing() -> None:
    judge = Judge("features")
    picture = torch.rand(2, 3, 32, 48, requires_grad=True)
    seen = judge(picture)
    assert [x.shape[-1] for x in seen] == [48, 24, 12, 6]
    (slope,) = torch.autograd.grad(sum(x.sum() for x in seen), picture)
    assert (slope != 0).float().mean() > 0.99
    again, _ = load_features()
    assert not any(p.requires_grad for p in again.parameters())


def test_unknown_judges_are_refused() -> None:
    check_judge("features")
    check_judge("vgg19:a file")
    for wrong in ("vgg19", "vgg19:", "lpips", "features:FILE"):
        with pytest.raises(ValueError, match="vgg16:FILE"):
            check_judge(wrong)
