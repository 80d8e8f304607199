"""Position maps: the network's shape, its loss, and a few faces that are learnt."""

from typing import Any

import numpy as np
import pytest
import torch

from pentimento.data.positions import PositionSample, layout, neutral
from pentimento.engine import rng
from pentimento.systems.perceive.position_map import (
    PositionMap,
    PositionNet,
    landmarks_of,
    paper,
    position_loss,
    tiny,
)
from pentimento.world.positions import positions


def faces(count: int, side: int = 32) -> list[PositionSample]:
    """A face is a bright spot that shows where the map lies."""
    base = positions(1, side)
    samples = []
    for n in range(count):
        shift = np.random.default_rng(n).uniform(-0.15, 0.15, 2)
        y, x = np.mgrid[:side, :side] / side - 0.5
        spot = np.exp(-((x - shift[0]) ** 2 + (y - shift[1]) ** 2) / 0.02)
        image = np.repeat((255 * spot)[..., None], 3, 2).astype(np.uint8)
        where = base + np.array([*shift, 0], np.float32) * layout(side).known[..., None]
        samples.append(PositionSample(image, where.astype(np.float32), str(n)))
    return samples


def test_the_published_network_has_its_shape() -> None:
    net = PositionNet(paper()).eval()
    # 2 convolutions of the stem's kind per block and its shortcut, 17 transposed ones.
    ups = [m for m in net.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [m.out_channels for m in ups] == [
        512, 256, 256, 256, 128, 128, 128, 64, 64, 64, 32, 32, 16, 16, 3, 3, 3,
    ]  # fmt: skip
    blocks = list(net.down)
    with torch.no_grad():
        x = net.stem(torch.zeros(1, 3, 64, 64))
        assert x.shape == (1, 16, 64, 64)
        sides = []
        for block in blocks:
            x = block(x)
            sides.append((x.shape[1], x.shape[2]))
        out = net(torch.zeros(1, 3, 64, 64))
    assert sides[1::2] == [(32, 32), (64, 16), (128, 8), (256, 4), (512, 2)]
    assert out.shape == (1, 3, 64, 64)
    assert 0 <= out[:, :2].min() <= out[:, :2].max() <= 1.1


def test_errors_off_the_face_do_not_count_and_landmarks_count_most() -> None:
    shape = layout(32)
    weights = torch.from_numpy(shape.weights)
    truth = torch.zeros(1, 3, 32, 32)
    off = (~torch.from_numpy(shape.known)).float()
    assert position_loss(truth + off, truth, weights) == 0
    heavy = (weights == 16).float()
    assert float(position_loss(truth + heavy, truth, weights)) == pytest.approx(
        float(3 * 16 * heavy.sum() / weights.sum()), rel=1e-5
    )


def test_a_network_with_a_code_begins_with_the_neutral_face() -> None:
    """Which lies where portraits have theirs."""
    found = PositionNet(tiny()).eval()(torch.rand(2, 3, 32, 32))
    front = torch.from_numpy(neutral(32)).permute(2, 0, 1)
    assert torch.equal(found, front.expand(2, -1, -1, -1))
    faces = torch.from_numpy(np.stack([positions(seed, 32) for seed in range(12)]))
    apart = landmarks_of(faces.permute(0, 3, 1, 2)).mean(0) - landmarks_of(front[None])[0]
    assert apart.norm(dim=1).mean() < 0.05


def test_a_few_faces_are_learnt_and_read_at_any_size() -> None:
    rng.seed(0)
    system = PositionMap(tiny())
    batch = system.collate(faces(8))
    adam = torch.optim.Adam(system.networks.parameters(), 5e-3)

    def update(name: str, terms: Any) -> None:
        adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        adam.step()

    before = system.validate([batch])
    for _ in range(120):
        system.train_step(batch, update)
    metrics = system.validate([batch])
    assert metrics["nme"] < 0.3 * before["nme"]
    assert metrics["dense"] < 0.3 * before["dense"]
    face = faces(1)[0]
    found = system.predict(np.repeat(np.repeat(face.image, 3, 0), 3, 1))
    known = layout(32).known
    assert np.isnan(found[~known]).all()
    assert 0 < np.nanmin(found[..., :2]) < np.nanmax(found[..., :2]) < 1.1 * 96
    points = landmarks_of(torch.from_numpy(face.positions).permute(2, 0, 1)[None])
    assert points.shape == (1, 68, 3)
    with pytest.raises(ValueError, match="square"):
        system.predict(np.zeros((32, 40, 3), np.uint8))
