import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from pentimento import models
from pentimento.errors import CheckpointError
from pentimento.labels import CELEBAMASK19, HELEN11, IGNORE
from pentimento.nn.mgpe import UNetParser
from pentimento.systems.frozen_parser import FrozenParser
from pentimento.systems.perceive.face_parsing import FaceParsing, tiny


@pytest.fixture
def unet(tmp_path: Path) -> str:
    torch.manual_seed(0)
    file = tmp_path / "P.safetensors"
    safetensors.torch.save_file(UNetParser(11, width=4).state_dict(), file)
    return f"unet:{file}"


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FaceParsing:
    torch.manual_seed(0)
    system = FaceParsing(tiny())
    system.networks.eval()
    monkeypatch.setattr(models, "load", lambda folder: system)
    return system


def test_loss_weighs_classes_and_forgets_unknown_pixels(
    unet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = FrozenParser(unet, HELEN11)
    flat = torch.zeros(1, 11, 4, 4)
    flat[:, 10, 0] = 2.0  # the first row looks like hair
    monkeypatch.setattr(parser, "logits", lambda picture: flat)
    labels = torch.full((1, 4, 4), IGNORE)
    picture = torch.zeros(1, 3, 4, 4)
    assert float(parser.loss(picture, labels)) == 0
    labels[0, 1, 0] = 0
    assert float(parser.loss(picture, labels)) == pytest.approx(math.log(11))
    labels[0, 0, 0] = HELEN11.value("mouth")
    mouth = math.log(10 + math.e**2)  # weight 8, the background pixel 0.2
    expected = (8 * mouth + 0.2 * math.log(11)) / 8.2
    assert float(parser.loss(picture, labels)) == pytest.approx(expected)


def test_gradients_reach_the_picture_and_never_the_parser(unet: str) -> None:
    parser = FrozenParser(unet, HELEN11)
    picture = torch.rand(2, 3, 64, 64).requires_grad_()
    parser.loss(picture, torch.ones(2, 64, 64, dtype=torch.long)).backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in parser.network.parameters())
    assert not parser.network.training


def test_a_19_class_parser_answers_in_helen_classes(system: FaceParsing) -> None:
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    nineteen = FrozenParser("some folder", CELEBAMASK19).logits(picture).softmax(1)
    eleven: Tensor = FrozenParser("some folder", HELEN11).logits(picture).softmax(1)
    skin = [CELEBAMASK19.value(n) for n in ("skin", "l_ear", "r_ear", "eye_g")]
    torch.testing.assert_close(eleven[:, 1], nineteen[:, skin].sum(1))
    left_eye = nineteen[:, CELEBAMASK19.value("l_eye")]
    torch.testing.assert_close(eleven[:, HELEN11.value("l_eye")], left_eye)


def test_other_sizes_are_resized_for_the_parser(system: FaceParsing) -> None:
    parser = FrozenParser("some folder", CELEBAMASK19)
    assert parser.logits(torch.zeros(1, 3, 32, 32)).shape == (1, 19, 32, 32)
    assert [x.shape[0] for x in parser.features(torch.zeros(2, 3, 32, 32))] == [2] * 4


def test_missing_parsers_are_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pentimento.systems.frozen_parser.BUNDLED", tmp_path / "parser")
    with pytest.raises(CheckpointError, match="parser=none"):
        FrozenParser("bundled", CELEBAMASK19)
    with pytest.raises(CheckpointError, match="latest_net_P"):
        FrozenParser(f"unet:{tmp_path / 'P.safetensors'}", HELEN11)
    with pytest.raises(CheckpointError, match="helen11 only"):
        FrozenParser("unet:P.safetensors", CELEBAMASK19)
