"""DensePose: a face's charts are learnt and read; people are found by the R-CNN."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pentimento.compat.checkpoints import load_official
from pentimento.compat.densepose import from_official
from pentimento.data.charts import ChartSample
from pentimento.engine import rng
from pentimento.errors import CheckpointError
from pentimento.systems.perceive.densepose import DensePose, DenseRCNN, tiny


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
    system = DensePose(tiny())
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
    system = DensePose(tiny())
    sample = faces(1)[0]
    empty = ChartSample(sample.image, sample.part * 0, sample.uv * 0, "nobody")
    batch = system.collate([empty, sample])
    with torch.no_grad():
        terms = system.losses(system.networks["densepose"](batch.image), batch)
    assert all(torch.isfinite(term) for term in terms.values())


def test_the_people_network_looks_at_pictures_and_at_crops(tmp_path: Path) -> None:
    """Official files convert; one built network serves all three questions: it is large."""
    torch.manual_seed(0)
    net = DenseRCNN().eval()
    torch.save(
        {"model": net.state_dict(), "iteration": 3}, tmp_path / "model.pth"
    )  # a trainer's file
    system, notes = load_official(tmp_path / "model.pth")
    assert notes == {}
    assert system.config.network == "rcnn"
    image = torch.rand(3, 70, 50) * 255
    with torch.no_grad():
        found = system.networks["densepose"].find(image, least=0.0, before=20, after=10, most=3)
        crop = system.networks["densepose"](torch.rand(1, 3, 64, 64))
    count = len(found.boxes)
    assert 0 < count <= 3
    assert found.charts.u.shape == (count, 25, 112, 112)
    assert (found.boxes[:, 2] <= 50).all()
    assert (found.boxes[:, 3] <= 70).all()
    assert crop.coarse.shape == (1, 2, 112, 112)
    state = net.state_dict()
    del state["roi_heads.decoder.predictor.bias"]
    with pytest.raises(CheckpointError, match=r"decoder\.predictor\.bias"):
        from_official(state)
    with pytest.raises(CheckpointError, match=r"some\.weight"):
        from_official({"some.weight": torch.zeros(1)})
