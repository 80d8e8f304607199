from dataclasses import replace

import numpy as np
import pytest
import torch

from pentimento.config import with_values
from pentimento.data.pictures import PictureSample
from pentimento.systems.generate.super_resolution import (
    Config,
    Crops,
    SRResNet,
    SuperResolution,
    compact,
    opinions,
    reduce,
    srresnet,
    tiny,
)


class Squares:
    """Pictures of 48 pixels that get lighter by a level per row."""

    def __len__(self) -> int:
        return 3

    def sample(self, index: int, rng: np.random.Generator) -> PictureSample:
        rows = np.arange(48, dtype=np.uint8)[:, None, None]
        return PictureSample(np.full((48, 48, 3), 40 * index, np.uint8) + rows)


def build(**values) -> SuperResolution:
    torch.manual_seed(0)
    return SuperResolution(replace(tiny(), **values))


@pytest.mark.parametrize(
    ("generator", "scale", "size"),
    [
        ("srresnet", 2, 32),
        ("srresnet", 3, 48),
        ("srresnet", 4, 32),
        ("rrdb", 2, 32),
        ("rrdb", 4, 32),
    ],
)
def test_every_picture_grows_by_the_scale(generator: str, scale: int, size: int) -> None:
    system = build(generator=generator, scale=scale, size=size, load_size=size, growth=4)
    for height, width in ((1, 1), (7, 10)):
        painted = system.predict(torch.rand(1, 3, height, width) * 2 - 1)
        assert painted.shape == (1, 3, scale * height, scale * width)


def test_tiles_give_what_the_whole_gives() -> None:
    system = build(blocks=2)
    network = system.networks["generator"]
    assert isinstance(network, SRResNet)
    picture = torch.rand(1, 3, 141, 300)
    with torch.no_grad():
        whole = network.eval()(torch.nn.functional.pad(picture, (0, 0, 0, 1), mode="reflect"))
    tiled = system.predict(picture * 2 - 1) / 2 + 0.5
    assert torch.allclose(tiled[..., :-8, :], whole[..., :-10, :].clamp(0, 1), atol=1e-5)


def test_an_untrained_network_enlarges_about_as_bilinear_does() -> None:
    small = torch.rand(1, 3, 12, 12)
    painted = build(width=16).predict(small * 2 - 1) / 2 + 0.5
    plain = torch.nn.functional.interpolate(small, scale_factor=2.0, mode="bilinear")
    assert (painted - plain).abs().mean() < 0.05


def test_opinions_by_hand() -> None:
    reals, fakes = torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [1.0]])
    log = np.log1p
    plain = 0.5 * ((log(np.exp(-2)) + log(np.exp(-4))) / 2 + log(np.exp(1)))
    assert float(opinions(reals, fakes, truth=True, relative=False)) == pytest.approx(plain)
    # Relative: reals count from 1, fakes from 3; the generator wants it the other way round.
    critic = 0.5 * ((log(np.exp(-1)) + log(np.exp(-3))) / 2 + log(np.exp(-2)))
    opponent = 0.5 * ((log(np.exp(1)) + log(np.exp(3))) / 2 + log(np.exp(2)))
    assert float(opinions(reals, fakes, truth=True, relative=True)) == pytest.approx(critic)
    assert float(opinions(reals, fakes, truth=False, relative=True)) == pytest.approx(opponent)


def test_the_critic_waits_for_the_second_stage() -> None:
    system = build(steps=4, adversarial_from=0.5)
    asked: list[tuple[str, ...]] = []
    crops = Crops(Squares(), 32, varied=True)
    batch = system.collate([crops.sample(n, np.random.default_rng(n)) for n in range(2)])
    for _ in range(3):
        named: list[str] = []
        terms = system.train_step(batch, lambda name, _, named=named: named.append(name))
        asked.append((*named, *terms))
    assert asked[0] == asked[1] == ("generator", "generator/pixel")
    assert asked[2] == (
        "generator", "critic", "generator/pixel", "generator/perceptual", "generator/gan",
        "critic/opinion",
    )  # fmt: skip


def test_crops_are_cut_and_the_middle_is_measured() -> None:
    varied, fixed = (Crops(Squares(), 32, varied=v) for v in (True, False))
    first = {int(varied.sample(0, np.random.default_rng(n)).image[0, 0, 0]) for n in range(20)}
    assert len(first) > 5
    assert max(first) <= 16
    assert int(fixed.sample(0, np.random.default_rng(0)).image[0, 0, 0]) == 8


def test_small_pictures_are_files_pictures() -> None:
    small = reduce(torch.rand(1, 3, 16, 16), 4)
    assert small.shape == (1, 3, 4, 4)
    assert torch.allclose(small * 255, (small * 255).round(), atol=1e-4)


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match="rrdb enlarges by 2 or 4"):
        Config(generator="rrdb", scale=3, size=48)
    with pytest.raises(ValueError, match="multiple of 16 and of 3"):
        Config(scale=3)
    assert SuperResolution(replace(srresnet(), blocks=1, width=4)).score == ("psnr", "max")
    assert with_values(compact(), ["judge=none"]).judge == "none"
