"""Painting in bfloat16: nearly the same picture, the same noise, and never unseen harm."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pentimento import models
from pentimento.runtime.reduced import HARMLESS, harm, reduced
from pentimento.session import translation
from pentimento.session.translation import Translator
from pentimento.structures import Picture
from pentimento.systems.generate import bicyclegan, cyclegan, pix2pix, pix2pixhd

PICTURE = Picture(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))


def noisy() -> pix2pix.Pix2Pix:
    torch.manual_seed(0)
    return pix2pix.Pix2Pix(replace(pix2pix.tiny(), dropout="always"))


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "bicyclegan", "pix2pixhd"])
def test_half_the_bits_paint_nearly_the_same(name: str) -> None:
    torch.manual_seed(0)
    system = {
        "pix2pix": lambda: noisy(),
        "cyclegan": lambda: cyclegan.CycleGAN(cyclegan.tiny()),
        "bicyclegan": lambda: bicyclegan.BicycleGAN(bicyclegan.tiny()),
        "pix2pixhd": lambda: pix2pixhd.Pix2PixHD(replace(pix2pixhd.tiny(), features=0)),
    }[name]()
    fast = reduced(system)
    dtypes = {p.dtype for p in system.networks.parameters()}
    assert dtypes == {torch.float32}
    assert all(p.dtype == torch.bfloat16 for p in fast.networks.parameters())
    drawn = torch.rand(1, system.channels(), 33, 45, generator=torch.Generator().manual_seed(1))
    exact, rounded = (each.predict(drawn * 2 - 1) for each in (system, fast))
    assert rounded.dtype == torch.float32
    assert rounded.shape == exact.shape
    assert 0 < (exact - rounded).abs().mean() < 0.02
    assert 0 < harm(system, fast) < 127.5 * 0.02


def test_noise_does_not_depend_on_layout_and_type() -> None:
    drop = pix2pix.UNet(3, 3, 4, 6, norm=nn.BatchNorm2d, bias=False, dropout="always").up[4].dropout
    drop.eval()
    x, seen = torch.ones(1, 16, 8, 8), []
    for each in (x, x.contiguous(memory_format=torch.channels_last), x.bfloat16()):
        torch.manual_seed(3)
        seen.append(drop(each).float())
    assert seen[0].equal(seen[1])
    assert seen[0].equal(seen[2])
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("precision", "found", "has", "fast"),
    [
        ("auto", HARMLESS, True, True),
        ("auto", HARMLESS + 0.01, True, False),
        ("auto", 0.0, False, False),
        ("bf16", 99.0, False, True),
        ("32", 0.0, True, False),
    ],
)
def test_auto_asks_the_processor_and_what_would_change(
    precision: translation.Precision,
    found: float,
    has: bool,
    fast: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    models.save(noisy(), tmp_path, "# A toy")
    monkeypatch.setattr(translation, "harm", lambda *_: found)
    monkeypatch.setattr(translation, "native", lambda: has)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    exact = Translator(tmp_path, precision="32").translate(PICTURE).pixels
    painted = Translator(tmp_path, precision=precision).translate(PICTURE).pixels
    assert np.array_equal(painted, exact) != fast


def test_harm_of_label_maps_is_the_share_of_other_classes() -> None:
    torch.manual_seed(0)
    one = pix2pix.Pix2Pix(replace(pix2pix.tiny(), out_channels=5, dropout="off"))
    other = reduced(one)
    head = other.networks["generator"].up[0].conv
    with torch.no_grad():
        head.bias.zero_()
        head.weight.zero_()
        head.bias[4] = 1  # says class 4 everywhere
    share = harm(one, other)
    assert 0 < share <= 100
    assert harm(one, one) == 0
