from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pentimento.errors import DataError
from pentimento.labels import IGNORE
from pentimento.systems.perceive.features import Features, harm, open_data, tiny


def test_evening_out_scales_channels_and_nothing_else() -> None:
    torch.manual_seed(0)
    system = Features(tiny())
    net = system.networks["features"]
    picture = torch.rand(2, 3, 32, 32) * 2 - 1
    before = net(picture)
    system.equalise([picture])
    after = net(picture)
    for one, other in zip(before, after, strict=True):
        mean = one.mean((0, 2, 3))
        alive = mean > 1e-4
        assert alive.any()
        assert torch.allclose(other.mean((0, 2, 3))[alive], torch.ones(int(alive.sum())), atol=1e-4)
        scaled = one[:, alive] / mean[alive][:, None, None]
        assert torch.allclose(other[:, alive], scaled, atol=1e-4)


def test_maps_beside_a_picture_are_cut_with_it(tmp_path: Path) -> None:
    for part in ("images", "labels", "maps"):
        (tmp_path / part).mkdir()
    rows, columns = np.mgrid[:64, :64]
    for n in range(30):
        gradient = np.dstack([columns * 4, rows * 4, rows * 0]).astype(np.uint8)  # BGR in the file
        cv2.imwrite(str(tmp_path / "images" / f"{n}.png"), gradient)
        cv2.imwrite(str(tmp_path / "labels" / f"{n}.png"), (rows // 8).astype(np.uint8))
        uv = np.dstack([columns / 64, rows / 64]).astype(np.float16)
        covered = columns < 48
        depth = np.where(covered, 4.0, np.inf).astype(np.float32)
        np.savez(tmp_path / "maps" / f"{n}.npz", uv=uv, covered=covered, depth=depth)
    config = replace(tiny(), harmed=0.0)
    data = open_data(str(tmp_path), "train", config)
    system = Features(config)
    batch = system.collate([data.sample(0, np.random.default_rng(n)) for n in range(6)])
    placed = batch.placed[:, 0] > 0
    assert 0.2 < placed.float().mean() < 1
    blue, green = (batch.image[:, n] / 2 + 0.5 for n in (2, 1))
    assert (batch.place[:, 0] - blue * 255 / 256)[placed].abs().max() < 0.05
    assert (batch.place[:, 1] - green * 255 / 256)[placed].abs().max() < 0.05
    assert batch.place[:, 2].abs().max() == 0
    assert (batch.labels / 8 - batch.place[:, 1])[placed].abs().max() < 0.13

    for path in (tmp_path / "maps").iterdir():
        np.savez(path, uv=np.zeros(2))
    with pytest.raises(DataError, match="no maps of a rendered portrait"):
        data.sample(0, np.random.default_rng(0))


def test_pictures_without_truths_only_have_harm_to_undo(tmp_path: Path) -> None:
    for n in range(30):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.full((40, 50, 3), 128, np.uint8))
    config = replace(tiny(), harmed=1.0)
    data = open_data(f"pictures:{tmp_path}", "train", config)
    system = Features(config)
    batch = system.collate([data.sample(0, np.random.default_rng(n)) for n in range(8)])
    assert bool((batch.labels == IGNORE).all())
    with torch.no_grad():
        terms = system._terms(batch)
    assert float(terms["parts"]) == float(terms["place"]) == 0
    assert terms["undo"] > 0
    with pytest.raises(DataError, match="no pictures for train"):
        open_data(str(tmp_path), "train", config)


def test_harm_harms_in_every_way_it_knows() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found = [harm(image, np.random.default_rng(seed)) for seed in range(40)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in found)
    assert all((one != image).any() for one in found)
    assert image.std() > 60  # the original stays
