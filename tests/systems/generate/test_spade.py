from dataclasses import replace

import pytest
import torch

from pentimento.systems.generate.pix2pixhd import Batch
from pentimento.systems.generate.spade import SPADE, SpectralConv, divergence, matching, tiny


def build(**values) -> SPADE:
    torch.manual_seed(0)
    return SPADE(replace(tiny(), judge="none", **values))


def test_spectral_convolutions_have_a_largest_singular_value_of_one() -> None:
    torch.manual_seed(0)
    conv = SpectralConv(3, 5, 3, 1, 1, bias=False)
    for _ in range(50):
        conv(torch.zeros(1, 3, 4, 4))
    before = conv.weight_u.clone()
    conv.eval()
    flat = torch.zeros(1, 3, 3, 3)
    flat[0, :, 1, 1] = 1
    conv(flat)
    assert conv.weight_u.equal(before)  # outside of training nothing moves
    matrix = conv.weight_orig.detach().flatten(1)
    largest = float(torch.linalg.matrix_norm(matrix, 2))
    assert float(conv.weight_u @ (matrix @ conv.weight_v)) == pytest.approx(largest, rel=1e-4)


@pytest.mark.parametrize(("style", "doublings"), [(0, 5), (4, 5), (0, 6), (4, 6)])
def test_label_maps_of_any_size_are_painted(style: int, doublings: int) -> None:
    system = build(style=style, doublings=doublings, size=(64, 64))
    labels = torch.eye(19)[torch.randint(19, (1, 70, 41))].movedim(-1, 1)
    painted = system.predict(labels, seed=1)
    assert painted.shape == (1, 3, 70, 41)
    assert painted.equal(system.predict(labels, seed=1))
    assert painted.equal(system.predict(labels, seed=2)) == (style == 0)


def test_unknown_pixels_have_a_plane_where_it_is_wanted() -> None:
    labels = torch.full((1, 64, 32), 255)
    batch = Batch(torch.zeros(1, 3, 64, 32), labels, torch.zeros(1, 1, 64, 32))
    assert build()._condition(batch)[:, :19].sum() == 0
    seen = build(unknown=True)._condition(batch)
    assert seen.shape[1] == 19 + 1 + 1
    assert bool((seen[:, 19] == 1).all())


def test_losses_by_hand() -> None:
    features = [[torch.zeros(1, 1, side, side)] * 4 + [torch.ones(1)] for side in (2, 1)]
    moved = [[*(x + n + 1 for x in scale[:-1]), scale[-1] + 9] for n, scale in enumerate(features)]
    assert float(matching(moved, features)) == pytest.approx(4 * (1 + 2) / 2)
    zero = torch.zeros(2, 3)
    assert float(divergence(zero, zero)) == 0
    assert float(divergence(zero + 2, zero)) == pytest.approx(0.5 * 4 * 6)


def test_sizes_must_come_of_doublings() -> None:
    with pytest.raises(ValueError, match="multiples of 64"):
        build(doublings=6, size=(64, 32))
