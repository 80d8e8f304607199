"""A face's charts are learnt and read."""

from typing import Any

import numpy as np
import pytest
import torch

from pentimento.data.charts import ChartSample
from pentimento.engine import rng
from pentimento.systems.perceive.face_charts import FaceCharts, tiny


def faces(count: int, side: int = 32) -> list[ChartSample]:
    """Discs whose red and green are their position on the surface."""
    y, x = np.mgrid[:side, :side] / side
    samples = []
    for n in range(count):
        middle = 0.4 + 0.2 * np.random.default_rng(n).random(2)
        part = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2 < 0.3**2).astype(np.uint8)
        uv = np.stack([x - middle[0] + 0.5, y - middle[1] + 0.5], 2).astype(np.float32)
        uv *= part[..., None]
        image = np.concatenate([uv, part[..., None]], 2) * 255
        samples.append(ChartSample(image.astype(np.uint8), part, uv, str(n)))
    return samples


def test_a_few_faces_are_learnt_and_read_at_any_size() -> None:
    rng.seed(0)
    system = FaceCharts(tiny())
    batch = system.collate(faces(8))
    adam = torch.optim.Adam(system.networks.parameters(), 8e-3)

    def update(name: str, terms: Any) -> None:
        adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        adam.step()

    for _ in range(90):
        system.train_step(batch, update)
    system.networks.eval()
    metrics = system.validate([batch])
    assert metrics["iou"] > 0.7
    assert metrics["uv_error"] < 0.05
    part, uv = system.predict(np.repeat(np.repeat(faces(1)[0].image, 3, 0), 3, 1))
    assert part.shape == (96, 96)
    assert uv.shape == (96, 96, 2)
    truth = faces(1)[0]
    assert (part[1::3, 1::3] > 0)[truth.part > 0].mean() > 0.7
    assert 0 <= uv.min() <= uv.max() <= 1
    with pytest.raises(ValueError, match="square"):
        system.predict(np.zeros((32, 40, 3), np.uint8))


def test_a_face_without_surface_gives_finite_losses() -> None:
    system = FaceCharts(tiny())
    sample = faces(1)[0]
    empty = ChartSample(sample.image, sample.part * 0, sample.uv * 0, "nobody")
    batch = system.collate([empty, sample])
    with torch.no_grad():
        terms = system.losses(system.networks["charts"](batch.image), batch)
    assert all(torch.isfinite(term) for term in terms.values())
