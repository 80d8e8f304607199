"""TCP: regions, alignment outside them, and consistency of codes."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from pentimento.data.pictures import PictureSample
from pentimento.engine.settings import Settings
from pentimento.engine.update import Optimizers
from pentimento.systems.generate.tcp import (
    TCP,
    blend,
    code_distance,
    content_alignment,
    random_rectangles,
    tiny,
)


def _system() -> TCP:
    torch.manual_seed(0)
    return TCP(tiny())


def _train(system: TCP, steps: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    batch = system.collate([PictureSample(picture) for picture in pictures])
    fabric = Fabric(accelerator="cpu", devices=1)
    settings = Settings(steps=steps, batch_size=2)
    update = Optimizers(fabric, system.networks, system.optimizers, settings)
    logs = []
    for step in range(steps):
        update.begin(step / steps, last=True)
        terms = system.train_step(batch, update)
        logs.append({name: term.item() for name, term in terms.items()})
    return logs


def test_regions_are_rectangles_of_a_quarter_to_three_quarters() -> None:
    torch.manual_seed(0)
    regions = random_rectangles(50, 16, torch.device("cpu"))
    for region in regions[:, 0]:
        rows, columns = region.any(1), region.any(0)
        assert torch.equal(region.bool(), rows[:, None] & columns[None])
        for line in (rows, columns):
            assert 3 <= int(line.sum()) <= 13
            assert int(line.diff().sum()) <= 2  # one piece


def test_codes_are_taken_from_their_side() -> None:
    region = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]])
    mixed = blend(torch.tensor([[4.0, 8.0]]), torch.tensor([[0.0, 2.0]]), region)
    assert mixed[0, 0].tolist() == [[4, 0], [2, 0]]
    assert mixed[0, 1].tolist() == [[8, 2], [5, 2]]


def test_alignment_measures_both_sides_and_spares_the_seam() -> None:
    region = torch.zeros(1, 1, 8, 8)
    region[..., 4:] = 1  # columns 4 … 7; the seam is columns 3 and 4
    inside, outside = torch.ones(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    perfect = torch.cat([outside[..., :8], inside[..., 8:]], 3)
    assert content_alignment(perfect, inside, outside, region) == 0
    seam = perfect.clone()
    seam[..., 6:10] = 0.5
    assert content_alignment(seam, inside, outside, region) == 0
    spilt = perfect.clone()
    spilt[..., :6] += 0.25
    assert content_alignment(spilt, inside, outside, region).item() == pytest.approx(0.25)


def test_code_consistency_aims_at_constants() -> None:
    code = torch.tensor([[0.6, 0.8]], requires_grad=True)
    wanted = torch.tensor([[1.0, 0.0]], requires_grad=True)
    distance = code_distance(code, wanted)
    assert distance.item() == pytest.approx(0.4 + 0.8)
    distance.backward()
    assert wanted.grad is None


def test_lazy_losses_come_when_due_and_every_network_learns() -> None:
    system = _system()
    before = {key: tensor.clone() for key, tensor in system.networks.state_dict().items()}
    logs = _train(system, 3)
    assert all(np.isfinite(list(log.values())).all() for log in logs)
    for name in ("consistency/texture", "critic/r1"):
        assert [name in log for log in logs] == [True, False, True]
    now = system.networks.state_dict()
    changed = {key.split(".")[0] for key in now if not torch.equal(now[key], before[key])}
    assert changed == set(system.networks)


def test_an_edit_changes_its_region_and_nearly_nothing_else() -> None:
    system = _system()
    rng = np.random.default_rng(1)
    image, other = rng.integers(0, 256, (2, 32, 64, 3), dtype=np.uint8)
    nothing, right = np.zeros((32, 64), bool), np.zeros((32, 64), bool)
    right[:, 40:] = True
    plain = system.edit(image, other, nothing)
    assert np.array_equal(system.edit(image, other, right, content=0.0, style=0.0), plain)
    distance = np.abs(system.edit(image, other, right).astype(int) - plain).mean((0, 2))
    assert distance[48:].mean() > 10 * distance[:24].mean()
    everything = system.edit(image, other, ~nothing).astype(int)
    assert np.abs(everything - system.edit(other, image, nothing)).max() <= 1


def test_sizes_that_do_not_fit_are_refused() -> None:
    system = _system()
    image = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="one size"):
        system.edit(image, image, np.zeros((16, 32), bool))
    with pytest.raises(ValueError, match="multiples of 4"):
        system.edit(image[:30], image[:30], np.zeros((30, 32), bool))
