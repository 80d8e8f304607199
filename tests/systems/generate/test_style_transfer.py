from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from pentimento.data.pictures import read_style
from pentimento.errors import ConfigError, DataError
from pentimento.losses.perceptual import gram
from pentimento.systems.generate.style_transfer import (
    Config,
    StyleTransfer,
    content_and_style,
    tiny,
    total_variation,
)


def build(**values) -> StyleTransfer:
    torch.manual_seed(0)
    return StyleTransfer(replace(tiny(), **values))


def test_losses_are_zero_for_content_and_style_themselves_and_weighed_else() -> None:
    features = [torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4)]
    style = [gram(x).mean(0, keepdim=True) for x in features]
    config = Config(content_level=1, content_weight=3.0, style_weight=5.0)
    same = [x[:1] for x in features]
    terms = content_and_style(same, same[1], [gram(x) for x in same], config)
    assert float(terms["content"]) == float(terms["style"]) == 0
    terms = content_and_style(features, features[1] + 2, style, config)
    assert float(terms["content"]) == pytest.approx(3 * 4)
    assert terms["style"] > 0


def test_total_variation_by_hand() -> None:
    picture = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]])
    assert float(total_variation(picture)) == pytest.approx((0 + 2) / 2 + (1 + 3) / 2)


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (64, 37)])
def test_any_size_comes_out_as_it_went_in(size: tuple[int, int]) -> None:
    painted = build().predict(torch.rand(2, 3, *size) * 2 - 1)
    assert painted.shape == (2, 3, *size)
    assert painted.abs().max() <= 1


def test_it_begins_with_grey_not_with_black() -> None:
    painted = build(width=8).predict(torch.rand(1, 3, 64, 64) * 2 - 1)
    assert abs(float(painted.mean())) < 0.3


def test_optimising_pixels_brings_the_style_nearer() -> None:
    system = build(style_size=64, smooth_weight=0.0)
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    before = system._terms(picture, picture)
    painted = system.optimise(picture, steps=8)
    after = system._terms(painted, picture)
    assert float(before["content"]) == 0
    assert after["style"] < 0.8 * before["style"]
    assert painted.shape == picture.shape


def test_patches_bring_the_palette_and_keep_the_shapes() -> None:
    system = build(
        style_size=64, manner="patches", content_level=2, style_weight=1.0, smooth_weight=0.0
    )
    picture = torch.from_numpy(read_style("painting:5", 64)).permute(2, 0, 1)[None] / 127.5 - 1
    before = system._terms(picture, picture)
    painted = system.optimise(picture, steps=20)
    after = system._terms(painted, picture)
    assert float(before["content"]) == 0
    assert after["style"] < 0.8 * before["style"]
    torch.manual_seed(0)
    once = system.optimise(picture, steps=2)
    torch.manual_seed(0)
    assert once.equal(system.optimise(picture, steps=2))


def test_styles_are_files_or_drawn(tmp_path) -> None:
    file = tmp_path / "style.png"
    cv2.imwrite(str(file), np.zeros((40, 80, 3), np.uint8))
    assert read_style(str(file), 20).shape == (20, 40, 3)
    assert read_style("painting:2", 32).shape == (32, 32, 3)
    for wrong in ("painting:", str(tmp_path / "none.png")):
        with pytest.raises(DataError):
            read_style(wrong, 32)


def test_wrong_asks_are_refused() -> None:
    with pytest.raises(ConfigError, match="AtoB"):
        build().channels("BtoA")
    with pytest.raises(ValueError, match="expected"):
        build().predict(torch.zeros(1, 1, 32, 32))
    for values, told in (({"size": 36}, "multiple of 8"), ({"judge": "vgg"}, "vgg16:FILE")):
        with pytest.raises(ValueError, match=told):
            replace(tiny(), **values)
