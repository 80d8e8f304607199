"""Averages, generators, schedules, settings: the small parts by hand-computed values."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from pentimento.config import differences, from_json, to_json, with_values
from pentimento.engine import rng
from pentimento.engine.averages import Averages
from pentimento.engine.schedules import constant, linear_decay, poly, warm_up
from pentimento.engine.settings import Settings
from pentimento.errors import ConfigError
from pentimento.systems.perceive import centernet


def test_averages_warm_up_and_copy_buffers() -> None:
    net = nn.BatchNorm1d(1)
    averages = Averages(nn.ModuleDict({"g": net, "d": nn.Linear(1, 1)}), ["g"], 0.9)
    assert set(averages.tensors) == {f"g.{key}" for key in net.state_dict()}
    with torch.no_grad():
        net.weight.fill_(2.0)
        net.running_mean.fill_(5.0)
    averages.follow(1)  # decay (1 + 1) / (10 + 1)
    assert averages.tensors["g.weight"].item() == pytest.approx(1 + 9 / 11)
    assert averages.tensors["g.running_mean"].item() == 5.0
    before = averages.tensors["g.weight"].item()
    averages.follow(1000)
    assert averages.tensors["g.weight"].item() == pytest.approx(before + 0.1 * (2 - before))


def test_averages_visit_the_network_and_leave_it_as_it_was() -> None:
    net = nn.Linear(1, 1, bias=False)
    averages = Averages(nn.ModuleDict({"g": net}), ["g"], 0.9)
    with torch.no_grad():
        net.weight.fill_(7.0)

    def fail_inside() -> None:
        with averages.in_place():
            assert net.weight.item() != 7.0
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert net.weight.item() == 7.0


def draw() -> tuple[float, ...]:
    numbers = torch.rand(1).item(), torch.randn(1).item(), random.random(), random.gauss(0, 1)
    return *numbers, np.random.rand(), np.random.randn()  # noqa: NPY002


def test_generators_come_back_in_the_middle_of_a_pair_of_gaussians() -> None:
    rng.seed(3)
    draw()
    state = {key: value.clone() for key, value in rng.capture().items()}
    after = draw()
    rng.seed(4)
    rng.restore(state)
    assert draw() == after


def test_kept_generators_go_on_as_if_nothing_had_happened() -> None:
    rng.seed(3)
    expected = draw()
    rng.seed(3)
    with rng.kept(0):
        inside = draw()
    assert draw() == expected
    with rng.kept(0):
        assert draw() == inside


def test_schedules() -> None:
    assert [constant(0.0), constant(0.9)] == [1.0, 1.0]
    assert [linear_decay(0.5)(done) for done in (0.0, 0.5, 0.75)] == [1.0, 1.0, 0.5]
    assert poly(2.0)(0.5) == 0.25
    assert [warm_up(0.2)(done) for done in (0.1, 0.2, 0.9)] == [0.5, 1.0, 1.0]
    assert warm_up(0.2)(0.0) > 0
    assert warm_up(0.5, linear_decay(0.5))(0.75) == 0.5
    with pytest.raises(ValueError, match="start"):
        linear_decay(1.0)
    with pytest.raises(ValueError, match="share"):
        warm_up(0.0)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"clip": 0.0}, {"workers": -1}, {"average_decay": 1.0}, {"unknown": 1}]
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        from_json(Settings, {"steps": 1, "batch_size": 1, **wrong})


def test_values_are_set_from_text() -> None:
    settings = with_values(Settings(1, 1), ["steps=7", "clip=0.5", "precision=bf16"])
    assert (settings.steps, settings.clip, settings.precision) == (7, 0.5, "bf16")
    assert with_values(settings, ["clip=null"]).clip is None
    assert from_json(Settings, to_json(settings)) == settings
    with pytest.raises(ConfigError, match="key=value"):
        with_values(settings, ["steps"])
    with pytest.raises(ConfigError, match=r'such as .*\["person"\]'):
        with_values(centernet.tiny(), ["classes=person"])
    with pytest.raises(ConfigError, match="holds no fields"):
        with_values(settings, ["steps.a=1"])


def test_differences_are_listed_by_path() -> None:
    old = {"a": 1, "b": {"c": 2, "d": 3}}
    assert differences(old, {"a": 1, "b": {"c": 4}}) == ["b.c: 2 → 4", "b.d: 3 → null"]
