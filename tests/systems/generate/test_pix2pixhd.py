"""pix2pixHD: two stages, styles of instances, a perceptual loss that is never a random network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from pentimento.errors import CheckpointError, ConfigError
from pentimento.losses.perceptual import VGG
from pentimento.systems.generate.pix2pixhd import (
    Batch,
    Pix2PixHD,
    Styles,
    cluster,
    halved,
    matching,
    one_hot,
    paper,
    perceptual,
    tiny,
)

TINY = tiny()


def batch(count: int = 1) -> Batch:
    torch.manual_seed(0)
    labels = torch.randint(0, 19, (count, 8, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    image = torch.rand(count, 3, 64, 32) * 2 - 1
    return Batch(image, labels, labels[:, None])


def touched(system: Pix2PixHD) -> set[str]:
    """Do one step; return the networks that the generator's loss reaches."""
    found: set[str] = set()

    def update(name: str, terms: dict[str, Tensor]) -> None:
        system.networks.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        if name == "generator":
            found.update(
                key
                for key, network in system.networks.items()
                if any(p.grad is not None for p in network.parameters())
            )

    system.train_step(batch(), update)
    return found - {"critic"}


def test_stages_train_what_the_paper_says() -> None:
    system = Pix2PixHD(replace(TINY, steps=20, first_stage=0.5, hold=0.2))
    stages = []
    for step in (0, 9, 10, 11, 13, 19):
        system.load_extra_state(system.extra_state() | {"step": torch.tensor(step)})
        stages.append(touched(system))
    first, held, later = stages[0], stages[2], stages[4]
    assert stages[1] == first == {"trunk", "head", "encoder"}
    assert stages[3] == held
    assert held == {"enhancer", "encoder"}
    assert stages[5] == later == {"trunk", "enhancer", "encoder"}


def test_stage_one_sees_half_the_size() -> None:
    whole = batch()
    small = halved(whole)
    assert small.image.shape[2:] == small.labels.shape[1:] == (32, 16)
    assert small.image[0, :, 0, 0].allclose(whole.image[0, :, :2, :2].mean((1, 2)))
    assert small.labels.equal(whole.labels[:, ::2, ::2])


def test_coarse_critics_see_the_same_resolution_in_both_stages() -> None:
    system = Pix2PixHD(TINY)
    whole = batch()
    small = halved(whole)
    assert len(system._opinion(system._condition(whole), whole.image)) == 3
    assert len(system._opinion(system._condition(small), small.image)) == 2


def test_rates_fall_twice() -> None:
    schedule = Pix2PixHD(replace(TINY, first_stage=0.6)).optimizers["generator"].schedule
    factors = [schedule(done) for done in (0.0, 0.3, 0.45, 0.6, 0.8, 0.9)]
    assert factors == pytest.approx([1, 1, 0.5, 1, 1, 0.5])


def test_matching_leaves_out_the_scores_and_averages_scales() -> None:
    fake = [[torch.full((1, 1, 2, 2), value) for value in (1.0, 2.0, 99.0)]] * 2
    real = [[torch.zeros(1, 1, 2, 2)] * 3] * 2
    assert matching(fake, real).item() == pytest.approx(4 / 2 * 3)


def test_clusters_find_what_is_there() -> None:
    torch.manual_seed(0)
    truth = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 9.0]])
    points = torch.cat([centre + 0.1 * torch.randn(30, 2) for centre in truth])
    found = cluster(points[torch.randperm(90)], 3)
    assert torch.cdist(found, truth).amin(0).max() < 0.1
    assert cluster(points[:2], 3).shape == (2, 2)


def test_a_style_is_one_for_a_whole_thing() -> None:
    styles = Styles(3, 4, 2)
    styles.centres[1] = torch.arange(8.0).view(4, 2)
    styles.counts[1] = 4
    labels = torch.tensor([[[1, 1, 1, 2], [1, 1, 1, 7]]])
    things = torch.tensor([[[[10, 10, 11, 12], [10, 10, 11, 13]]]])
    drawn = [styles(labels, things, seed) for seed in range(8)]
    assert all((d[0, :, :, :2] == d[0, :, :1, :1]).all() for d in drawn)
    assert all((d[0, :, :, 3] == 0).all() for d in drawn)
    assert any(not d[0, :, 0, 0].equal(d[0, :, 0, 2]) for d in drawn)
    assert styles(labels, things, 3).equal(drawn[3])


def test_styles_must_be_learnt_before_they_are_drawn() -> None:
    system = Pix2PixHD(TINY)
    x = one_hot(batch().labels, 19)
    with pytest.raises(ConfigError, match="pentimento styles"):
        system.predict(x)
    system.learn_styles([batch(2)])
    with torch.no_grad():  # a fresh network hardly sees its features
        system.networks["enhancer"].first.conv.weight[:, -2:] *= 1000
    painted = [system.predict(x, seed=seed) for seed in (1, 1, 2)]
    assert painted[0].equal(painted[1])
    assert not painted[0].equal(painted[2])
    with pytest.raises(ConfigError, match="no instance encoder"):
        Pix2PixHD(replace(TINY, features=0)).learn_styles([])


@pytest.mark.parametrize("enhance", [True, False])
@pytest.mark.parametrize("size", [(64, 32), (37, 50), (3, 3)])
def test_any_size_comes_back_in_its_size(enhance: bool, size: tuple[int, int]) -> None:
    system = Pix2PixHD(replace(TINY, features=0, enhance=enhance))
    labels = torch.randint(0, 20, (1, *size))  # 19 is unknown
    assert system.predict(one_hot(labels, 19)).shape == (1, 3, *size)


def test_the_perceptual_loss_asks_the_bundled_network_or_a_real_file(tmp_path: Path) -> None:
    judged = Pix2PixHD(replace(TINY, perceptual="features"))
    assert judged.train_step(batch(), lambda name, terms: None)["generator/perceptual"] > 0
    file = tmp_path / "vgg.safetensors"
    with pytest.raises(CheckpointError, match="vgg"):
        touched(Pix2PixHD(replace(TINY, perceptual=f"vgg19:{file}")))
    torch.manual_seed(3)
    safetensors.torch.save_file(VGG().state_dict(), file)
    system = Pix2PixHD(replace(TINY, perceptual=f"vgg19:{file}"))
    real = torch.rand(1, 3, 32, 32)
    assert system._judge is not None
    assert perceptual(system._judge, real, real) == 0
    assert perceptual(system._judge, real.flip(3), real) > 0
    resumed = Pix2PixHD(system.config)
    resumed.load_extra_state(system.extra_state())
    safetensors.torch.save_file(VGG().state_dict(), file)
    assert resumed._judge is not None
    with pytest.raises(CheckpointError, match="not the network that this run began with"):
        perceptual(resumed._judge, real, real)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"size": (1000, 2048)}, "multiples of 32"),
        ({"scales": 1}, "scales"),
        ({"hold": 1.0}, "shares"),
        ({"perceptual": "random"}, "vgg19:FILE"),
    ],
)
def test_impossible_configurations_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(paper(), **values)
    assert np.prod(paper().size) == 1024 * 2048
