"""pix2pix: what its training steps optimise and what it does to pictures of any size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pentimento.data.pairs import PairSample
from pentimento.errors import ConfigError
from pentimento.losses.adversarial import gradient_penalty
from pentimento.systems.generate.pix2pix import (
    Batch,
    Config,
    Pix2Pix,
    label_entropy,
    paper,
    tiny,
)

TINY = tiny()


def batch(count: int = 2) -> Batch:
    torch.manual_seed(0)
    return Batch(torch.rand(count, 3, 64, 64) * 2 - 1, torch.rand(count, 3, 64, 64) * 2 - 1)


def updates(config: Config) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    torch.manual_seed(1)
    Pix2Pix(config).train_step(batch(), lambda name, terms: found.update({name: dict(terms)}))
    return found


def test_the_critic_learns_before_the_generator() -> None:
    assert list(updates(TINY)) == ["critic", "generator"]
    assert list(updates(replace(TINY, critic="none"))) == ["generator"]


@pytest.mark.parametrize("loss", ["vanilla", "lsgan", "wgangp"])
@pytest.mark.parametrize("critic", ["patch", "pixel"])
@pytest.mark.parametrize("generator", ["unet", "resnet"])
def test_every_choice_trains(loss: str, critic: str, generator: str) -> None:
    config = replace(
        TINY, loss=loss, critic=critic, generator=generator, depth=6 if generator == "unet" else 1
    )
    system = Pix2Pix(config)

    def step(name: str, terms: dict[str, Tensor]) -> None:
        sum(terms.values()).backward(inputs=list(system.networks[name].parameters()))

    terms = system.train_step(batch(), step)
    assert ("critic/slope" in terms) == (loss == "wgangp")
    for parameter in system.networks.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_the_l1_term_is_the_weighted_mean_difference() -> None:
    system = Pix2Pix(replace(TINY, dropout="off", l1_weight=7.0))
    pair = batch()
    terms = system.train_step(pair, lambda name, terms: None)
    difference = (system.networks["generator"](pair.condition) - pair.target).abs().mean()
    assert terms["generator/l1"].item() == pytest.approx(7 * difference.item(), rel=1e-5)


def test_an_unconditional_critic_does_not_see_the_condition() -> None:
    system = Pix2Pix(replace(TINY, conditional=False, dropout="off"))
    one = batch()
    other = Batch(one.condition.flip(0), one.target)
    scores = [system._scores(each, one.target) for each in (one, other)]
    assert scores[0].equal(scores[1])
    assert not Pix2Pix(TINY)._scores(one, one.target).equal(scores[0])


def test_the_slope_of_a_linear_critic_is_known() -> None:
    real, fake = torch.rand(4, 1, 3, 3), torch.rand(4, 1, 3, 3)
    penalty = gradient_penalty(lambda x: 2.0 * x.sum((1, 2, 3)), real, fake)
    assert penalty.item() == pytest.approx((2 * 3 - 1) ** 2, rel=1e-5)


def test_either_side_can_be_the_condition() -> None:
    sample = PairSample(np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8))
    there = Pix2Pix(TINY).collate([sample])
    back = Pix2Pix(replace(TINY, direction="BtoA")).collate([sample])
    assert there.condition.equal(back.target)
    assert (back.condition.unique().tolist(), back.target.unique().tolist()) == ([1.0], [-1.0])


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (65, 30), (100, 131)])
def test_any_size_comes_back_in_its_size(size: tuple[int, int]) -> None:
    system = Pix2Pix(TINY)
    x = torch.rand(1, 3, *size) * 2 - 1
    painted = system.predict(x)
    assert painted.shape == x.shape
    assert painted.abs().max() <= 1


def test_noise_is_the_seeds_and_leaves_other_randomness_alone() -> None:
    system = Pix2Pix(TINY)
    x = torch.rand(1, 3, 128, 128)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (system.predict(x, seed=seed) for seed in (1, 1, 2))
    assert torch.get_rng_state().equal(before)
    assert one.equal(same)
    assert not one.equal(other)


def test_each_picture_is_painted_by_its_own_statistics() -> None:
    system = Pix2Pix(replace(TINY, dropout="off"))
    x = torch.rand(2, 3, 64, 64) * torch.tensor([0.1, 1.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(system.predict(x)[:1], system.predict(x[:1]), rtol=1e-4, atol=1e-5)


def test_the_other_direction_is_refused() -> None:
    with pytest.raises(ConfigError, match="AtoB only"):
        Pix2Pix(TINY).predict(torch.zeros(1, 3, 64, 64), direction="BtoA")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"size": 200}, "multiple of 256"),
        ({"load_size": 255}, "load_size"),
        ({"critic": "none", "l1_weight": 0.0}, "l1_weight"),
    ],
)
def test_impossible_configurations_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(paper(), **values)


def label_maps(**values: object) -> Pix2Pix:
    torch.manual_seed(2)
    return Pix2Pix(replace(TINY, out_channels=5, critic="none", dropout="off", **values))


def planes_of(classes: Tensor) -> Tensor:
    return (classes[:, None] == torch.arange(5)[:, None, None]).float()


def test_label_maps_are_compared_by_cross_entropy_and_unknown_pixels_cost_nothing() -> None:
    fake = torch.zeros(1, 5, 2, 2)
    target = planes_of(torch.tensor([[[0, 1], [2, 9]]]))  # 9 is unknown
    assert label_entropy(fake, target).item() == pytest.approx(0.75 * np.log(5), rel=1e-5)
    assert label_entropy(2 * target - 1, target).item() < 1e-6
    system = label_maps(compare="cross_entropy")
    pair = Batch(batch().condition, planes_of(torch.randint(0, 5, (2, 64, 64))))
    assert "generator/cross_entropy" in system.train_step(pair, lambda name, terms: None)
    with pytest.raises(ValueError, match="out_channels 3 is a picture"):
        replace(TINY, compare="cross_entropy")


def test_label_maps_are_validated_by_agreement_and_colours_by_their_looks() -> None:
    system, condition = label_maps(), batch().condition
    with torch.no_grad():
        own = system.networks["generator"](condition).argmax(1)
    own[0, :2] = 9  # unknown rows do not count
    assert system.score == ("iou", "max")
    assert system.validate([Batch(condition, planes_of(own))]) == {"iou": 1.0, "pixels": 1.0}
    assert system.validate([Batch(condition, planes_of((own + 1) % 5))])["pixels"] < 0.1

    system = Pix2Pix(TINY)
    assert system.score == ("looks", "min")
    with torch.no_grad():
        assert system.validate([batch()]).keys() == {"ssim", "psnr", "looks", "l1"}
    assert Pix2Pix(replace(TINY, out_channels=1)).score == ("ssim", "max")
