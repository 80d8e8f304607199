"""Painting in bands is painting the whole, for every generator, size and amount of memory."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pentimento.errors import PictureError
from pentimento.nn.norm import draw_weights
from pentimento.runtime import tiling
from pentimento.runtime.tiling import Streamer, stream, whole
from pentimento.systems.generate import bicyclegan, cyclegan, pix2pix, pix2pixhd

GREY_LEVEL = 2 / 255


def _pix2pix(**values: Any) -> pix2pix.Pix2Pix:
    base = {"size": 64, "load_size": 64, "width": 3, "depth": 3, "critic": "none"}
    return pix2pix.Pix2Pix(pix2pix.Config(**(base | values)))


def _hd(**values: Any) -> pix2pixhd.Pix2PixHD:
    system = pix2pixhd.Pix2PixHD(replace(pix2pixhd.tiny(), classes=4, **values))
    if system.config.features:
        styles = system.networks["styles"]
        styles.counts.fill_(2)
        styles.centres.normal_()
    return system


BUILD = {
    "unet": lambda: _pix2pix(dropout="off"),
    "unet, running averages": lambda: _pix2pix(dropout="off", statistics="running"),
    "unet, instance norm, resize": lambda: _pix2pix(dropout="off", norm="instance", resize=True),
    "resnet": lambda: _pix2pix(generator="resnet", depth=2, dropout="off"),
    "resnet, resize": lambda: _pix2pix(generator="resnet", depth=1, dropout="off", resize=True),
    "cyclegan": lambda: cyclegan.CycleGAN(cyclegan.tiny()),
    "colouring": lambda: cyclegan.CycleGAN(
        replace(cyclegan.tiny(), a_channels=1, keep="luminance", identity_weight=0.0)
    ),
    "bicyclegan": lambda: bicyclegan.BicycleGAN(bicyclegan.tiny()),
    "pix2pixhd": _hd,
    "pix2pixhd, global, no edges": lambda: _hd(enhance=False, edges=False, features=0),
}


def built(kind: str) -> Any:
    torch.manual_seed(3)
    system = BUILD[kind]()
    for network in system.networks.values():
        draw_weights(network, 0.2)  # so that pictures are not all grey
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
    return system


def seen(system: Any, height: int, width: int) -> Tensor:
    if isinstance(system, pix2pixhd.Pix2PixHD):
        return pix2pixhd.one_hot(torch.randint(0, 5, (1, height, width)), 4)
    gradient = torch.linspace(-1, 1, width).expand(1, system.channels(), height, width)
    return (gradient + 0.3 * torch.randn_like(gradient)).clamp(-1, 1)


def rows_of(painted: tiling.Planes, step: int) -> Tensor:
    edges = range(0, painted.height, step)
    return torch.cat([painted.rows(a, min(a + step, painted.height)) for a in edges], 2)


@pytest.mark.parametrize("kind", BUILD)
@settings(max_examples=6, deadline=None)
@given(
    height=st.integers(9, 150),
    width=st.integers(9, 70),
    memory=st.integers(1, 400_000),
    step=st.integers(1, 60),
)
def test_bands_equal_the_whole(kind: str, height: int, width: int, memory: int, step: int) -> None:
    system = built(kind)
    condition = seen(system, height, width)
    painted = stream(system, whole(condition), memory, seed=5)
    expected = system.predict(condition, seed=5)
    assert (painted.channels, painted.height, painted.width) == expected.shape[1:]
    assert expected.std() > 0.05
    torch.testing.assert_close(rows_of(painted, step), expected, atol=GREY_LEVEL / 20, rtol=0)


def test_the_other_direction_is_the_other_generator() -> None:
    system = built("cyclegan")
    condition = seen(system, 40, 30)
    for way in ("AtoB", "BtoA"):
        painted = stream(system, whole(condition), 20_000, direction=way)
        expected = system.predict(condition, direction=way)
        torch.testing.assert_close(painted.rows(0, 40), expected, atol=GREY_LEVEL / 20, rtol=0)


def test_noise_is_the_same_where_its_layer_fits_into_memory() -> None:
    torch.manual_seed(0)
    system = _pix2pix(dropout="always", depth=6)
    condition = seen(system, 200, 64)
    expected = system.predict(condition, seed=7)
    painted = stream(system, whole(condition), 300_000, seed=7)
    torch.testing.assert_close(painted.rows(0, 200), expected, atol=GREY_LEVEL / 20, rtol=0)
    other = stream(system, whole(condition), 300_000, seed=8).rows(0, 200)
    assert not torch.allclose(other, expected, atol=1e-3)


def test_noise_in_bands_halves_and_is_the_same_in_every_band() -> None:
    work = Streamer(1, seed=4)
    noisy = work.through(whole(torch.ones(1, 5, 40, 50)), tiling.Dropout(at_test=True))
    drawn = noisy.rows(0, 40)
    assert set(drawn.unique().tolist()) == {0.0, 2.0}
    assert 0.45 < drawn.mean() / 2 < 0.55
    assert noisy.rows(7, 19).equal(drawn[:, :, 7:19])


def test_memory_of_layers_is_bounded() -> None:
    """The largest band that is asked for shrinks with the memory that is allowed."""
    system = built("resnet")
    asked: list[int] = []

    def rows(a: int, b: int) -> Tensor:
        asked.append(b - a)
        return torch.zeros(1, 3, b - a, 50)

    for memory in (1_000_000, 100_000):
        asked.clear()
        stream(system, tiling.Planes(3, 4000, 50, rows), memory)
        largest = max(asked)
        assert largest * 3 * 50 * 4 < memory
    assert largest < 4000


def test_a_disk_that_is_too_small_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    system = built("resnet")
    monkeypatch.setattr(tiling.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(PictureError, match="set TMPDIR"):
        stream(system, whole(seen(system, 64, 64)), 1000)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(TypeError, match="PixelShuffle"):
        Streamer(1000).through(whole(torch.zeros(1, 4, 8, 8)), nn.PixelShuffle(2))
