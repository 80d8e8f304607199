"""CornerNet and both CenterNets: what a user of any of them relies on."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from pentimento.catalog import row
from pentimento.compat.centernet import CENTERNET
from pentimento.compat.centernet import from_official as centernet_from
from pentimento.compat.cornernet import CORNERNET, TRIPLETS
from pentimento.compat.cornernet import from_official as cornernet_from
from pentimento.config import with_values
from pentimento.data.detection import DetectionSample, Earlier
from pentimento.engine import rng
from pentimento.engine.processes import placed
from pentimento.engine.settings import Settings
from pentimento.engine.update import Optimizers
from pentimento.errors import CheckpointError
from pentimento.systems.perceive import centernet, centernet_triplets, cornernet

NAMES = ("cornernet", "centernet_triplets", "centernet")


def drawn(seed: int, size: int = 64) -> DetectionSample:
    random = np.random.default_rng(seed)
    image = np.full((size, size, 3), random.integers(0, 90), np.uint8)
    boxes, classes = [], []
    for corner in ((4, 4), (34, 34))[: 1 + seed % 2]:
        left, top = (int(v) for v in np.array(corner) + random.integers(0, 6, 2))
        width, height = (int(v) for v in random.integers(12, 22, 2))
        kind = int(random.integers(2))
        colour = ((240, 60, 40), (40, 120, 250))[kind]
        cv2.rectangle(image, (left, top), (left + width - 1, top + height - 1), colour, -1)
        boxes.append([left, top, left + width, top + height])
        classes.append(kind)
    return DetectionSample(image, np.array(boxes, np.float32), np.array(classes, np.int64))


def build(name: str, *values: str) -> Any:
    rng.seed(0)
    entry = row(name)
    config = with_values(entry.module().PRESETS["tiny"](), ['classes=["red","blue"]', *values])
    return entry.system()(config)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_without_objects_are_learnt_from(name: str) -> None:
    system = build(name)
    bare = DetectionSample(
        np.zeros((64, 64, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    )
    batch = system.collate([bare, bare])
    seen: list[dict[str, Any]] = []
    terms = system.train_step(batch, lambda _, terms: seen.append(terms))
    assert all(torch.isfinite(value) for value in terms.values())
    torch.stack(list(seen[0].values())).sum().backward()
    assert system.validate([batch])["ap"] == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(31, 90, 3), (200, 40, 3), (1, 1, 3)])
def test_answers_lie_in_the_picture(name: str, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = build(name).predict(image, 0.0)
    assert (found.boxes.xyxy >= 0).all()
    assert (found.boxes.xyxy <= [shape[1], shape[0]] * 2).all()
    assert (np.diff(found.boxes.scores) <= 0).all()
    if name != "centernet":
        again = build(name).look(image, 0.0, (1.0, 0.7))
        assert (again.boxes.xyxy <= [shape[1], shape[0]] * 2).all()
    with pytest.raises(ValueError, match="uint8"):
        build(name).predict(image.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_eight_pictures_are_learnt_by_heart(name: str) -> None:
    system = build(name)
    samples = [drawn(seed) for seed in range(8)]
    batch = system.collate(samples)
    fabric = Fabric(accelerator="cpu", devices=1)
    with placed(fabric, system):
        optimizers = Optimizers(
            fabric, system.networks, system.optimizers, Settings(steps=300, batch_size=8)
        )
        for _ in range(300):
            optimizers.begin(0.0, last=True)
            system.train_step(batch, optimizers)
    system.networks.eval()
    assert system.validate([batch])["ap50"] > 0.9
    found = system.predict(samples[1].image, 0.6)
    assert len(found) == 2
    order = found.boxes.xyxy[:, 0].argsort()
    assert np.abs(found.boxes.xyxy[order] - samples[1].boxes).max() < 4
    assert (found.classes[order] == samples[1].classes).all()


@pytest.mark.parametrize("backbone", ["dla34", "resnet18"])
def test_a_tracker_learns_where_things_were(backbone: Any) -> None:
    torch.manual_seed(0)
    config = centernet.Config(
        backbone=backbone, tracking=True, classes=("a",), size=64, width=8, head_width=8, peaks=10
    )
    system = centernet.CenterNet(config)
    earlier = with_earlier(drawn(0))
    batch = system.collate([earlier, earlier])
    shift = np.array([8.0, -4.0]) / 4
    assert np.allclose(batch.way[0, 0].numpy(), shift)
    assert batch.past[0, 3].max() == 1

    def backward(name: str, terms: Any) -> None:
        torch.stack(list(terms.values())).sum().backward()

    assert torch.isfinite(system.train_step(batch, backward)["way"])
    past = system.networks["past"]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in past.parameters())
    with pytest.raises(ValueError, match="no previous frame"):
        centernet.Config(backbone="hourglass104", tracking=True)


def test_what_was_not_there_before_teaches_no_way() -> None:
    torch.manual_seed(0)
    system = centernet.CenterNet(replace(centernet.tiny(), tracking=True, classes=("a",)))
    sample = with_earlier(drawn(0))
    assert sample.earlier is not None
    sample.earlier.middles[:] = np.nan
    batch = system.collate([sample, sample])
    assert not batch.tracked.any()
    terms = system.train_step(batch, lambda name, terms: None)
    assert terms["way"].item() == 0
    assert "way" not in system.validate([batch])


def test_ids_are_told_by_where_the_way_leads() -> None:
    system = centernet.CenterNet(replace(centernet.tiny(), tracking=True, classes=("a",)))
    image = np.zeros((64, 64, 3), np.uint8)
    boxes = np.array([[8, 8, 16, 16], [24, 8, 32, 16]], np.float32)
    middles = np.array([[26.0, 12], [42, 12]], np.float32)  # both came 14 pixels from the right
    before = Earlier(image, middles, np.zeros((0, 3), np.int64))
    batch = system.collate([DetectionSample(image, boxes, np.zeros(2, np.int64), before)])
    right = centernet.followed(batch, batch.way)
    assert right.tolist() == [[0, 14, 1, 1], [0, 14, 1, 0]]  # standing, the second were the first
    half = centernet.followed(batch, batch.way / 4)
    assert half[:, 0].tolist() == pytest.approx([10.5, 10.5])


def with_earlier(sample: DetectionSample) -> DetectionSample:
    middle = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2 + np.float32([8, -4])
    peaks = np.concatenate([middle, np.full((len(middle), 1), 2)], 1).astype(np.int64)
    kinds = np.zeros(len(middle), np.int64)
    return DetectionSample(
        sample.image, sample.boxes, kinds, Earlier(sample.image, middle.astype(np.float32), peaks)
    )


def test_a_pair_needs_a_centre_of_its_class_in_its_middle() -> None:
    pairs = np.zeros((3, 8), np.float32)
    pairs[:, 2:4], pairs[:, 4], pairs[:, 7] = 30, 0.6, [0, 0, 1]
    pairs[1, :4] += 100
    middles = np.array([[15, 14, 0, 0.9], [110, 130, 0, 0.8]], np.float32)
    kept = centernet_triplets.confirmed(pairs, middles)
    assert kept[:, :4].tolist() == [[0, 0, 30, 30]]
    assert kept[0, 4] == pytest.approx((2 * 0.6 + 0.9) / 3)
    # In the middle third, but not in the middle fifth that a large box asks for.
    off = np.array([[11, 15, 0, 0.9]], np.float32)
    assert len(centernet_triplets.confirmed(pairs[:1], off)) == 1
    assert len(centernet_triplets.confirmed(pairs[:1], off, large=100)) == 0


@pytest.mark.parametrize(
    ("module", "values", "keys", "load"),
    [
        (centernet, {"backbone": "resnet18"}, CENTERNET, centernet_from),
        (centernet, {"backbone": "resnet18_dcn"}, CENTERNET, centernet_from),
    ],
)
def test_official_states_come_back(module: ModuleType, values: Any, keys: Any, load: Any) -> None:
    system = module.CenterNet(module.Config(**values, classes=("a", "b", "c"), width=8, size=64))
    official = keys.to_official(system.networks["detector"].state_dict())
    assert "layer2.0.downsample.0.weight" in official
    again = load({**official, "base.fc.bias": torch.zeros(1)})
    assert again.config.classes == ("class 0", "class 1", "class 2")
    state = again.networks["detector"].state_dict()
    before = system.networks["detector"].state_dict()
    assert all(value.equal(state[key]) for key, value in before.items())
    with pytest.raises(CheckpointError, match="missing"):
        load({k: v for k, v in official.items() if not k.startswith("reg.0")})


def test_what_is_no_detector_is_refused() -> None:
    for load in (centernet_from, cornernet_from):
        with pytest.raises(CheckpointError, match="not the state"):
            load({"conv.weight": torch.zeros(1)})
    assert (CORNERNET.network, TRIPLETS.network) == ("CornerNet", "CenterNet (triplets)")
    assert cornernet.paper().dims == centernet_triplets.paper().dims
