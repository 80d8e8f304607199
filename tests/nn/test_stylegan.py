"""StyleGAN2's blocks: what they compute, and that they differentiate twice."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradgradcheck

from pentimento.nn.stylegan import (
    BILINEAR,
    Blur,
    ConvLayer,
    EqualLinear,
    ModulatedConv,
    StyledConv,
    Synthesis,
    minibatch_deviation,
    upfirdn,
)


def test_modulated_conv_equals_weights_scaled_and_brought_to_unit_norm() -> None:
    torch.manual_seed(0)
    conv = ModulatedConv(3, 5, 3, style=4)
    x, style = torch.randn(2, 3, 6, 6), torch.randn(2, 4)
    for sample in range(2):
        weight = conv.weight[0] * conv.scale * conv.modulation(style)[sample][None, :, None, None]
        weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        expected = F.conv2d(x[sample : sample + 1], weight, padding=1)
        torch.testing.assert_close(conv(x, style)[sample : sample + 1], expected)


def test_up_sampling_keeps_a_constant_and_its_place() -> None:
    up = Blur(BILINEAR, (2, 1), up=2, insert=True)
    assert torch.allclose(up(torch.ones(1, 1, 4, 4))[..., 1:-1, 1:-1], torch.tensor(1.0))
    # The filter's weights on the two nearest pixels are 3/4 and 1/4.
    ramp = up(torch.arange(4.0).expand(1, 1, 4, 4))[0, 0, 3]
    torch.testing.assert_close(ramp[1:-1], torch.tensor([0.25, 0.75, 1.25, 1.75, 2.25, 2.75]))


def test_minibatch_deviation_of_two_pictures_is_half_their_distance() -> None:
    pictures = torch.stack([torch.zeros(3, 2, 2), torch.full((3, 2, 2), 4.0)])
    torch.testing.assert_close(minibatch_deviation(pictures, 4), torch.full((2, 1, 2, 2), 2.0))


def test_equal_linear_has_one_scale_for_vectors_and_maps() -> None:
    layer = EqualLinear(4, 3, activate=True)
    vector = torch.randn(2, 4)
    torch.testing.assert_close(layer(vector[..., None, None])[..., 0, 0], layer(vector))


def test_strided_layer_filters_with_the_padding_that_was_asked_for() -> None:
    # On a constant, padding with zeros darkens the rim; reflection does not.
    picture = torch.ones(1, 1, 8, 8)
    for reflect, flat in ((True, True), (False, False)):
        layer = ConvLayer(1, 1, 3, down=True, reflect=reflect, activate=False)
        out = layer(picture)
        assert out.shape == (1, 1, 4, 4)
        assert torch.allclose(out, out.mean(), atol=1e-5) is flat


@pytest.mark.parametrize("up", [False, True])
def test_styled_conv_differentiates_twice(up: bool) -> None:
    torch.manual_seed(0)
    block = StyledConv(ModulatedConv(2, 3, 3, style=2, up=up), 3).double()
    side = 6 if up else 3
    x = torch.randn(1, 2, 3, 3, dtype=torch.double, requires_grad=True)
    style = torch.randn(1, 2, dtype=torch.double, requires_grad=True)
    noise = torch.zeros(1, 1, side, side, dtype=torch.double)
    assert gradgradcheck(lambda x, style: block(x, style, noise), (x, style))


def test_filter_differentiates_twice() -> None:
    x = torch.randn(1, 2, 3, 3, dtype=torch.double, requires_grad=True)
    kernel = Blur(BILINEAR, (2, 1), up=2).kernel.double()
    assert gradgradcheck(lambda x: upfirdn(x, kernel, 2, (2, 1)).square(), (x,))


def test_synthesis_paints_every_layer_with_its_own_style() -> None:
    torch.manual_seed(0)
    net = Synthesis(16, style=4, base=64, most=8)
    w = torch.randn(1, net.layers, 4)
    before = net(w)
    assert before.shape == (1, 3, 16, 16)
    for layer in range(net.layers):
        changed = w.clone()
        changed[:, layer] += 1
        assert not torch.equal(net(changed), before)
