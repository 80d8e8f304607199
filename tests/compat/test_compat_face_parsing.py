import pytest
import torch

from pentimento.compat.face_parsing import (
    BISENET,
    UNET,
    YAKHYO,
    from_official,
    to_bisenet_order,
)
from pentimento.errors import CheckpointError
from pentimento.labels import BISENET19, CELEBAMASK19
from pentimento.systems.perceive.face_parsing import BiSeNet, UNet


def test_official_bisenet_answers_in_our_class_order() -> None:
    torch.manual_seed(0)
    net = BiSeNet().eval()
    official = BISENET.to_official(net.state_dict())
    system = from_official(official)
    system.networks.eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        theirs = net(image)
        ours = system.networks["parser"](image)
    for our, their in zip(ours, theirs, strict=True):
        for value, name in enumerate(CELEBAMASK19.classes):
            torch.testing.assert_close(our[:, value], their[:, BISENET19.value(name)])


@pytest.mark.parametrize("keys", [BISENET, YAKHYO], ids=["zllrunning", "yakhyo"])
def test_bisenet_goes_out_and_comes_back(keys: object) -> None:
    ours = BiSeNet().state_dict()
    official = keys.to_official(to_bisenet_order(ours))  # type: ignore[attr-defined]
    back = from_official(official).networks["parser"].state_dict()
    assert all(torch.equal(back[key], ours[key]) for key in ours)


def test_renamed_keys_are_those_of_the_renamed_project() -> None:
    keys = set(YAKHYO.to_official(BiSeNet().state_dict()))
    assert {
        "fpn.backbone.layer2.0.downsample.0.weight",
        "fpn.arm16.conv_block.norm.running_mean",
        "fpn.arm32.attention.0.weight",
        "fpn.arm32.attention.1.bias",
        "ffm.conv_block.conv.weight",
        "conv_out16.conv_block.conv.weight",
        "conv_out32.conv.weight",
    } <= keys


def test_unet_goes_out_and_comes_back() -> None:
    ours = UNet().state_dict()
    back = from_official(UNET.to_official(ours)).networks["parser"].state_dict()
    assert all(torch.equal(back[key], ours[key]) for key in ours)


def test_other_and_incomplete_states_are_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="not the state of a face parser"):
        from_official({"layer.weight": torch.zeros(1)})
    official = UNET.to_official(UNet().state_dict())
    del official["final.bias"]
    with pytest.raises(CheckpointError, match=r"missing keys \['final.bias'\]"):
        from_official(official)
