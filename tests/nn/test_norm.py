"""Normalisation by a picture's own statistics, forwards and backwards."""

import pytest
import torch
from torch import nn

from pentimento.nn.norm import BatchNorm, draw_weights, instance_norm
from pentimento.nn.unet import UNet, doubling


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_at_batch_1_are_those_of_float64(layout: torch.memory_format) -> None:
    """nn.InstanceNorm2d fails this on the CPU for gradients in channels-last order."""
    torch.manual_seed(0)
    x = torch.randn(1, 6, 9, 7)
    gradient = torch.randn(1, 6, 9, 7)
    found = []
    for kind in (torch.float32, torch.float64):
        leaf = x.to(kind, copy=True).contiguous(memory_format=layout).requires_grad_()
        y = instance_norm(6).to(kind)(leaf)
        y.backward(gradient.to(kind).contiguous(memory_format=layout))
        assert leaf.grad is not None
        found.append((y.detach().double(), leaf.grad.double()))
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-5)


def test_instance_norm_has_no_parameters_and_equals_its_formula() -> None:
    x = torch.randn(2, 3, 8, 8) * 5 + 2
    norm = instance_norm(3)
    assert not norm.state_dict()
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt())


def test_batch_norm_per_picture_is_what_training_at_batch_1_computes() -> None:
    torch.manual_seed(1)
    norm = BatchNorm(4, per_picture=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    pictures = torch.randn(3, 4, 6, 6) * torch.tensor([1.0, 5.0, 0.2]).view(3, 1, 1, 1)
    alone = torch.cat([norm(picture[None]) for picture in pictures])
    kept = norm.running_mean.clone()
    norm.eval()
    torch.testing.assert_close(norm(pictures), alone)
    assert norm.running_mean.equal(kept)
    norm.per_picture = False
    assert not torch.allclose(norm(pictures), alone, atol=0.1)


def test_weights_are_drawn_as_the_paper_says() -> None:
    net = draw_weights(nn.Sequential(nn.Conv2d(64, 64, 4), BatchNorm(4096)), 0.02)
    conv, norm = net
    assert abs(conv.weight.std().item() - 0.02) < 1e-3
    assert conv.bias.count_nonzero() == norm.bias.count_nonzero() == 0
    assert abs(norm.weight.mean().item() - 1) < 2e-3


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("resize", [False, True])
def test_doubling_doubles(kernel: int, resize: bool) -> None:
    layer = doubling(2, 3, kernel, bias=True, resize=resize)
    assert layer(torch.zeros(1, 2, 5, 7)).shape == (1, 3, 10, 14)


def test_resizing_leaves_no_checkerboard() -> None:
    """A constant stays constant away from the border; a transposed convolution alternates."""
    flat = torch.ones(1, 4, 8, 8)
    for resize in (True, False):
        torch.manual_seed(0)
        y = doubling(4, 1, 3, bias=False, resize=resize)(flat)[0, 0, 4:12, 4:12].detach()
        assert (y.std() < 1e-6) == resize


def test_dropout_at_test_is_a_choice() -> None:
    def paintings(dropout: str) -> bool:
        torch.manual_seed(0)
        net = UNet(1, 1, 4, 6, norm=instance_norm, bias=True, dropout=dropout).eval()
        x = torch.randn(1, 1, 128, 128)
        return bool(torch.equal(net(x), net(x)))

    assert paintings("off")
    assert paintings("train")
    assert not paintings("always")
