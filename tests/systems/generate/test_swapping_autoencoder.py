"""The swapping autoencoder: codes, critics, turns and mixing."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from pentimento.data.pictures import PictureSample
from pentimento.engine.settings import Settings
from pentimento.engine.update import Optimizers
from pentimento.systems.generate.swapping_autoencoder import (
    Batch,
    Codes,
    Config,
    SwappingAutoencoder,
    gradient_penalty,
    tiny,
)


def _system(seed: int = 0) -> SwappingAutoencoder:
    torch.manual_seed(seed)
    return SwappingAutoencoder(tiny())


def _batch(system: SwappingAutoencoder) -> Batch:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    return system.collate([PictureSample(picture) for picture in pictures])


def _train(system: SwappingAutoencoder, steps: int) -> list[dict[str, float]]:
    fabric = Fabric(accelerator="cpu", devices=1)
    settings = Settings(steps=steps, batch_size=2)
    update = Optimizers(fabric, system.networks, system.optimizers, settings)
    batch, logs = _batch(system), []
    for step in range(steps):
        update.begin(step / steps, last=True)
        terms = system.train_step(batch, update)
        logs.append({name: term.item() for name, term in terms.items()})
    return logs


def test_r1_is_the_squared_gradient_averaged_over_samples() -> None:
    x = torch.tensor([[1.0, 2.0], [0.0, 1.0]], requires_grad=True)
    scores = 3 * x[:, 0].square() + x[:, 1].square()
    # Gradients (6, 4) and (0, 2): (36 + 16 + 0 + 4) / 2.
    assert gradient_penalty(scores, x).item() == 28.0
    assert gradient_penalty(scores, x).requires_grad


def test_both_players_learn_and_r1_comes_every_second_step() -> None:
    system = _system()
    before = {key: tensor.clone() for key, tensor in system.networks.state_dict().items()}
    logs = _train(system, 3)
    assert [("critic/r1" in log) for log in logs] == [True, False, True]
    assert all(np.isfinite(list(log.values())).all() for log in logs)
    now = system.networks.state_dict()
    changed = {key.split(".")[0] for key in now if not torch.equal(now[key], before[key])}
    assert changed == set(system.networks)


def test_critics_and_autoencoder_pay_for_opposite_answers() -> None:
    system = _system()
    named: dict[str, dict[str, Tensor]] = {}
    system.train_step(_batch(system), lambda name, terms: named.setdefault(name, dict(terms)))
    # Untrained scores are about zero: everything costs log 2 times its weight.
    for terms in named.values():
        for name, term in terms.items():
            if name != "l1":
                weight = 0.5 if name in ("critic/rec", "critic/mix", "adversarial/rec") else 1.0
                assert term.item() == pytest.approx(weight * np.log(2), rel=0.3)


def test_same_seed_same_bits() -> None:
    first, second = _system(), _system()
    states = []
    for system in (first, second):
        torch.manual_seed(1)
        _train(system, 3)
        states.append(system.networks.state_dict())
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


def test_the_time_of_the_penalty_survives_saving() -> None:
    system, other = _system(), _system()
    _train(system, 1)
    other.load_extra_state(system.extra_state())
    assert "critic/r1" not in _train(other, 1)[0]


@pytest.fixture
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return list(rng.integers(0, 256, (2, 32, 48, 3), dtype=np.uint8))


def test_swapping_nothing_reconstructs_and_all_of_it_is_the_other_texture(pictures) -> None:
    system, (one, two) = _system(), pictures
    own, other = system.encode(one), system.encode(two)
    reconstruction = system.decode(own)
    assert reconstruction.shape == one.shape
    assert np.array_equal(system.decode(own), reconstruction)  # the noise is fixed
    assert np.array_equal(system.swap(one, two, 0.0), reconstruction)
    assert np.array_equal(system.swap(one, two), system.decode(Codes(own.structure, other.texture)))


def test_swapping_a_region_leaves_the_rest_nearly_alone(pictures) -> None:
    system, (one, two) = _system(), pictures
    with torch.no_grad():  # make the untrained texture matter
        for name, parameter in system.networks["generator"].named_parameters():
            if "modulat" in name and name.endswith("weight"):
                parameter *= 5
    region = np.zeros((32, 48), bool)
    region[:, 32:] = True
    plain = system.decode(system.encode(one)).astype(int)
    distance = np.abs(system.swap(one, two, region=region).astype(int) - plain).mean((0, 2))
    assert distance[36:].mean() > 4 * distance[:16].mean()
    with pytest.raises(ValueError, match="does not fit"):
        system.swap(one, two, region=region[:8])


def test_wrong_sizes_are_refused_with_the_rule(pictures) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        _system().encode(pictures[0][:30])
    with pytest.raises(ValueError, match="at least 28"):
        _system().encode(pictures[0][:24])
    with pytest.raises(ValueError, match="at least 112"):
        Config(size=64)
    with pytest.raises(ValueError, match="even"):
        Config(batch_size=3)
    with pytest.raises(ValueError, match="power of two"):
        Config(size=100)


def test_validation_measures_reconstruction() -> None:
    system = _system()
    batch = _batch(system)

    class Perfect(torch.nn.Module):
        def forward(self, structure: Tensor, texture: Tensor, noise: int) -> Tensor:
            return batch.image + 0.2

    system.networks["generator"] = Perfect()
    metrics = system.validate([batch])
    assert metrics["l1"] == pytest.approx(0.2)
    assert metrics["psnr"] == pytest.approx(20.0)  # 10 log10(4 / 0.04)
