"""DensePose: people are found with their charts, learnt end to end."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pentimento.compat.checkpoints import load_official
from pentimento.compat.densepose import from_official
from pentimento.data.people import PeopleSample, Person
from pentimento.engine import rng
from pentimento.errors import CheckpointError
from pentimento.systems.perceive.densepose import DensePose, DenseRCNN, paper, tiny


def crowd(count: int, side: int = 64) -> list[PeopleSample]:
    """One bright body of part 3 per picture, whose red and green are its position on the chart."""
    samples = []
    for n in range(count):
        random = np.random.default_rng(n)
        width, height = random.integers(20, 30), random.integers(30, 44)
        left, top = random.integers(0, side - width), random.integers(0, side - height)
        image = np.full((side, side, 3), 30, np.uint8)
        y, x = np.mgrid[:height, :width]
        u, v = (x + 0.5) / width, (y + 0.5) / height
        body = np.stack([255 * u, 255 * v, np.full_like(u, 255)], 2)
        image[top : top + height, left : left + width] = body
        points = random.uniform(0, 256, (40, 2)).astype(np.float32)
        frame = np.array([left, top, left + width, top + height], np.float32)
        person = Person(frame, points, np.full(40, 3), points / 256, np.ones((256, 256), np.uint8))
        samples.append(PeopleSample(image, frame[None], (person,)))
    return samples


def nobody() -> PeopleSample:
    return PeopleSample(np.zeros((64, 64, 3), np.uint8), np.zeros((0, 4), np.float32), ())


def test_people_and_their_charts_are_learnt_end_to_end() -> None:
    rng.seed(0)
    system = DensePose(tiny())
    batch = system.collate(crowd(6))
    adam = torch.optim.Adam(system.networks.parameters(), 3e-3)

    def update(name: str, terms: Any) -> None:
        adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        adam.step()

    before = None
    for done in range(45):
        if done == 1:
            system.networks.eval()
            before = system.validate([batch])
            system.networks.train()
        system.train_step(batch, update)
    system.networks.eval()
    after = system.validate([batch])
    assert before is not None
    assert after["gps"] > before["gps"] + 0.3
    assert after["gps"] > 0.6
    assert after["ap50"] > 0.5
    assert min(after["box_ap"], after["mask_ap"]) > 0.3
    sample = crowd(1)[0]
    doubled = np.repeat(np.repeat(sample.image, 2, 0), 2, 1)
    part, uv, boxes = system.predict(doubled, 0.3)
    assert part.shape == (128, 128)
    assert uv.shape == (128, 128, 2)
    left, top, right, bottom = (2 * sample.boxes[0]).astype(int)
    assert (part[top:bottom, left:right] == 3).mean() > 0.6
    assert (part > 0).sum() < 2 * (right - left) * (bottom - top)
    assert boxes.shape[1] == 5
    assert np.abs(boxes[0, :4] - 2 * sample.boxes[0]).max() < 24


@pytest.mark.parametrize("samples", [[nobody(), nobody()], [nobody(), *crowd(1)]])
def test_pictures_without_people_give_finite_losses(samples: list[PeopleSample]) -> None:
    rng.seed(0)
    system = DensePose(tiny())
    seen: dict[str, Any] = {}
    system.train_step(system.collate(samples), lambda name, terms: seen.update(terms))
    assert all(torch.isfinite(term) for term in seen.values())
    sum(seen.values()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in system.networks.parameters())


def test_people_without_marked_points_teach_boxes_only() -> None:
    rng.seed(0)
    system = DensePose(tiny())
    sample = crowd(1)[0]
    person = sample.people[0]
    none = np.zeros((0, 2), np.float32)
    bare = Person(person.frame, none, np.zeros(0, np.int64), none, person.mask)
    batch = system.collate([PeopleSample(sample.image, sample.boxes, (bare,))] * 2)
    seen: dict[str, Any] = {}
    system.train_step(batch, lambda name, terms: seen.update(terms))
    assert seen["box"] > 0
    assert seen["u"] == seen["coarse"] == seen["part"] == 0
    assert system.validate([batch])["gps"] == 0


def test_official_files_convert_and_find_people(tmp_path: Path) -> None:
    """One built network serves all questions: it is large."""
    torch.manual_seed(0)
    net = DenseRCNN(paper()).eval()
    torch.save(
        {"model": net.state_dict(), "iteration": 3}, tmp_path / "model.pth"
    )  # a trainer's file
    system, notes = load_official(tmp_path / "model.pth")
    assert notes == {}
    assert system.config == paper()
    image = torch.rand(3, 70, 50) * 255
    with torch.no_grad():
        found = system.networks["densepose"].find(image, least=0.0, before=20, after=10, most=3)
    count = len(found.boxes)
    assert 0 < count <= 3
    assert found.charts.u.shape == (count, 25, 112, 112)
    assert (found.boxes[:, 2] <= 50).all()
    assert (found.boxes[:, 3] <= 70).all()
    state = net.state_dict()
    del state["roi_heads.decoder.predictor.bias"]
    with pytest.raises(CheckpointError, match=r"decoder\.predictor\.bias"):
        from_official(state)
    with pytest.raises(CheckpointError, match=r"some\.weight"):
        from_official({"some.weight": torch.zeros(1)})
