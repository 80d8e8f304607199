"""CycleGAN: its losses, its pool of past pictures, and each direction alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.metrics.distribution import SlicedWasserstein
from pentimento.systems.generate.cyclegan import (
    Batch,
    CycleGAN,
    Pool,
    luma,
    paper,
    tiny,
    with_luma_of,
)

TINY = tiny()


def batch(count: int = 2) -> Batch:
    torch.manual_seed(0)
    return Batch(torch.rand(count, 3, 32, 32) * 2 - 1, torch.rand(count, 3, 32, 32) * 2 - 1)


def ignore(name: str, terms: object) -> None:
    pass


def test_generators_step_before_critics() -> None:
    order: list[str] = []
    CycleGAN(TINY).train_step(batch(), lambda name, terms: order.append(name))
    assert order == ["generators", "critics"]


def test_perfect_generators_pay_neither_for_cycle_nor_identity() -> None:
    system = CycleGAN(TINY)
    system.networks["a_to_b"] = system.networks["b_to_a"] = nn.Identity()
    terms = system.train_step(batch(), ignore)
    assert {name for name, value in terms.items() if value == 0} == {
        "cycle/a", "cycle/b", "identity/a", "identity/b",
    }  # fmt: skip


def test_terms_carry_their_weights() -> None:
    class Black(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -torch.ones_like(x)

    system = CycleGAN(replace(TINY, cycle_weight=6.0, identity_weight=0.25))
    system.networks["a_to_b"] = system.networks["b_to_a"] = Black()
    pair = batch()
    terms = system.train_step(pair, ignore)
    away = (pair.a + 1).mean().item()
    assert terms["cycle/a"].item() == pytest.approx(6 * away, rel=1e-5)
    assert terms["identity/a"].item() == pytest.approx(1.5 * away, rel=1e-5)
    without = CycleGAN(replace(TINY, identity_weight=0.0, cycle_weight=0.0))
    assert not [n for n in without.train_step(pair, ignore) if n.startswith(("cycle", "identity"))]


def test_critic_a_judges_what_b_to_a_paints() -> None:
    system = CycleGAN(TINY)
    found: dict[str, dict[str, Tensor]] = {}
    system.train_step(batch(), lambda name, terms: found.update({name: dict(terms)}))
    system.networks.zero_grad()
    found["generators"]["generator/a"].backward()
    assert any(p.grad is not None for p in system.networks["b_to_a"].parameters())
    assert all(p.grad is None for p in system.networks["a_to_b"].parameters())
    assert all(p.grad is None for p in system.networks["critic_b"].parameters())


def test_a_pool_fills_first_and_then_exchanges_half() -> None:
    torch.manual_seed(0)
    pool = Pool(50)
    first = torch.arange(50.0).view(50, 1, 1, 1)
    assert pool.exchange(first).equal(first)
    shown = [float(pool.exchange(torch.full((1, 1, 1, 1), 100.0 + n)).item()) for n in range(400)]
    old = [value for n, value in enumerate(shown) if value != 100 + n]
    assert 150 < len(old) < 250
    assert len(set(old)) == len(old)  # a picture leaves the pool when it is shown
    assert len(pool.pictures) == 50
    assert Pool(0).exchange(first) is first


def test_a_pool_goes_on_where_it_was_kept() -> None:
    def later(system: CycleGAN) -> Tensor:
        torch.manual_seed(9)
        return torch.stack([system._pools["a"].exchange(torch.full((1, 3, 2, 2), 9.0 + n))
                            for n in range(9)])  # fmt: skip

    system = CycleGAN(TINY)
    for pool in system._pools.values():
        pool.exchange(torch.rand(3, 3, 2, 2))
    other = CycleGAN(TINY)
    other.load_extra_state({k: v.clone() for k, v in system.extra_state().items()})
    assert later(system).equal(later(other))


def test_each_direction_can_be_used_alone() -> None:
    config = replace(TINY, a_channels=1, b_channels=3, identity_weight=0.0)
    system = CycleGAN(config)
    grey, colour = torch.rand(1, 1, 30, 41), torch.rand(1, 3, 30, 41)
    assert system.predict(grey).shape == (1, 3, 30, 41)
    assert system.predict(colour, direction="BtoA").shape == (1, 1, 30, 41)
    with pytest.raises(ValueError, match=r"expected \(B, 1, H, W\)"):
        system.predict(colour)


def colours(*values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 3, 1, 1)


def test_colours_get_the_lightness_of_the_source() -> None:
    half = colours((0.4, -0.2, 0.0)) - luma(colours((0.4, -0.2, 0.0)))
    darker = with_luma_of(half + 0.3, torch.full((1, 1, 1, 1), -0.5))
    assert torch.allclose(darker, half - 0.5, atol=1e-6)  # there is room: only the light changes
    red = with_luma_of(colours((1, -1, -1)), torch.full((1, 1, 1, 1), 0.701))
    # Red has a luma of 0.299 · 2 - 1 = -0.402: as light as that it would be (2.1, 0.1, 0.1).
    share = (1 - 0.701) / 1.402
    assert torch.allclose(red, 0.701 + share * (colours((1, -1, -1)) + 0.402), atol=1e-6)
    for end in (-1.0, 1.0):
        extreme = torch.full((1, 1, 1, 1), end)
        assert with_luma_of(colours((1, -1, 0.5)), extreme).eq(end).all()


def test_kept_luma_is_exact_and_in_range() -> None:
    torch.manual_seed(0)
    painted, source = (torch.rand(2, 3, 20, 20) * 2 - 1 for _ in range(2))
    kept = with_luma_of(painted, source)
    assert torch.allclose(luma(kept), luma(source), atol=1e-6)
    assert kept.abs().max() <= 1 + 1e-6
    assert torch.allclose(with_luma_of(painted, painted), painted, atol=1e-6)
    assert torch.allclose(with_luma_of(kept, source), kept, atol=1e-6)


def test_kept_luma_lets_gradients_through() -> None:
    torch.manual_seed(0)
    painted = (torch.rand(1, 3, 3, 3, dtype=torch.float64) * 2 - 1).requires_grad_()
    source = (torch.rand(1, 1, 3, 3, dtype=torch.float64) * 2 - 1).requires_grad_()
    assert torch.autograd.gradcheck(with_luma_of, (painted, source))
    grey = torch.zeros(1, 3, 2, 2, requires_grad=True)
    with_luma_of(
        grey, torch.tensor([[-1.0, 1.0], [0.0, 0.5]])[None, None]
    ).square().sum().backward()
    assert grey.grad is not None
    assert grey.grad.isfinite().all()


def test_a_colouring_model_changes_colours_only() -> None:
    config = replace(TINY, a_channels=1, keep="luminance", identity_weight=0.0)
    system = CycleGAN(config)
    grey, colour = torch.rand(1, 1, 30, 41) * 2 - 1, torch.rand(1, 3, 30, 41) * 2 - 1
    painted = system.predict(grey)
    assert torch.allclose(luma(painted), grey, atol=1e-6)
    assert painted.std(1).max() > 0.01  # it is no grey picture
    free = CycleGAN(replace(config, keep="nothing"))
    free.networks.load_state_dict(system.networks.state_dict())
    assert not torch.allclose(luma(free.predict(grey)), grey, atol=0.1)
    back = system.predict(colour, direction="BtoA")
    assert torch.allclose(back, luma(colour))  # known, so nothing can be hidden in it
    wide = [F.pad(x, (0, 0, 0, 2))[..., :32] for x in (grey, colour)]
    terms = system.train_step(Batch(*wide), ignore)
    assert all(value.isfinite() for value in terms.values())
    assert terms["cycle/a"].item() == pytest.approx(0, abs=1e-5)
    assert terms["cycle/b"].item() > 0


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"b_channels": 1}, "identity"),
        ({"keep": "luminance", "a_channels": 1, "b_channels": 1}, "greys and colours"),
        ({"keep": "luminance", "a_channels": 4, "identity_weight": 0.0}, "got 4 and 3"),
        ({"size": 250}, "multiple of 4"),
        ({"pool": -1}, "pool"),
    ],
)
def test_impossible_configurations_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(paper(), **values)


def test_the_distance_of_pictures_knows_sets_apart() -> None:
    rng = np.random.default_rng(0)

    def distance(shift: float, shuffled: bool = False) -> float:
        meter = SlicedWasserstein()
        pictures = [rng.random((32, 32, 3)) * 0.5 for _ in range(8)]
        for real, fake in zip(pictures, reversed(pictures) if shuffled else pictures, strict=True):
            meter.add(real, fake + shift)
        return meter.value()

    assert distance(0.0) == 0
    assert distance(0.0, shuffled=True) < 0.3 * distance(0.1) < 0.3 * distance(0.3)
    with pytest.raises(ValueError, match="28 pixels"):
        SlicedWasserstein().add(np.zeros((20, 20, 3)), np.zeros((20, 20, 3)))
