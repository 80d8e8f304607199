"""Landmarks by heatmaps and coordinates, and stacked hourglasses."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pentimento.data.landmarks import LandmarkSample
from pentimento.ops.landmarks import mirror_order
from pentimento.systems.perceive import hourglass, landmarks
from pentimento.systems.perceive.landmarks import Batch, Config, Landmarks, tiny, wing

KINDS: dict[str, Config] = {
    "softmax": tiny(),
    "mse": replace(tiny(), loss="mse", decoding="dark"),
    "fine": replace(tiny(), stride=1),
    "half": replace(tiny(), stride=2, points=98),
    "coordinates": replace(tiny(), head="coordinates", points=5),
}


def batch(points: int, size: int = 32, faces: int = 2) -> Batch:
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(faces, 3, size, size, generator=rng) * 2 - 1
    places = (0.2 + 0.6 * torch.rand(faces, points, 2, generator=rng)) * size
    return Batch(image, places, torch.full((faces,), 0.4 * size))


def gradients(system: Any, data: Batch) -> dict[str, float]:
    def update(name: str, terms: Any) -> None:
        torch.stack(list(terms.values())).sum().backward()

    return {key: float(term.detach()) for key, term in system.train_step(data, update).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_head_answers_and_learns(kind: str) -> None:
    torch.manual_seed(0)
    system = Landmarks(KINDS[kind])
    data = batch(system.config.points)
    assert all(math.isfinite(term) for term in gradients(system, data).values())
    weights = dict(system.networks.named_parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights.values())
    system.networks.eval()
    with torch.no_grad():
        found = system.locate(data.image, flip=True)
    assert found.shape == data.points.shape
    assert system.samples(data).shape == (2, 3, 3, 32, 32)


def test_coordinates_start_at_the_neutral_face() -> None:
    torch.manual_seed(0)
    system = Landmarks(replace(tiny(), head="coordinates", size=64))
    system.networks.eval()
    with torch.no_grad():
        face = system.locate(torch.rand(1, 3, 64, 64))[0] / 64
    eyes, mouth, chin = face[36:48], face[48:68].mean(0), face[8]
    assert eyes[:6, 0].max() < 0.5 < eyes[6:, 0].min()
    assert eyes[:, 1].max() < 0.5 < mouth[1] < chin[1] < 0.9
    assert mouth[0] == pytest.approx(0.5, abs=0.02)


def test_points_outside_of_the_crop_do_not_count() -> None:
    torch.manual_seed(0)
    for kind in ("softmax", "mse", "coordinates"):
        system = Landmarks(KINDS[kind])
        data = batch(system.config.points)
        data.points[0] = -5.0
        half = gradients(system, data)
        data.points[0] = 1e4
        assert gradients(system, data) == half
        data.points[:] = -5.0
        assert all(term == 0 for term in gradients(system, data).values())


def test_wing_is_as_computed_by_hand() -> None:
    loss = wing(torch.tensor([0.0, 2.0, -2.0, 30.0]))
    curve = 10 * math.log(2)
    beyond = 30 - (10 - 10 * math.log(6))
    assert loss.tolist() == pytest.approx([0.0, curve, curve, beyond])
    step = wing(torch.tensor([10 - 1e-4, 10 + 1e-4], dtype=torch.float64))
    assert step[1] - step[0] == pytest.approx(0, abs=1e-3)


def test_the_flip_test_makes_answers_symmetric() -> None:
    torch.manual_seed(0)
    for config in (tiny(), replace(tiny(), head="coordinates")):
        system = Landmarks(config)
        system.networks.eval()
        image = batch(68).image
        with torch.no_grad():
            plain, mirror = (system.locate(x, flip=True) for x in (image, image.flip(3)))
        back = mirror[:, torch.from_numpy(mirror_order(68))]
        back = back * torch.tensor([-1.0, 1.0]) + torch.tensor([32.0, 0.0])
        torch.testing.assert_close(plain, back, atol=1e-3, rtol=0)


def test_predict_takes_crops_of_any_size() -> None:
    torch.manual_seed(0)
    system = Landmarks(tiny())
    for finds in (system, hourglass.StackedHourglasses(hourglass.tiny())):
        for side in (32, 77):
            image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
            points = finds.predict(image, flip=True)
            assert points.shape == (68, 2)
            assert (points > -side / 8).all()
            assert (points < 9 * side / 8).all()
        assert finds.networks.training
    with pytest.raises(ValueError, match="square"):
        system.predict(np.zeros((10, 12, 3), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        system.predict(np.zeros((10, 10, 3), np.float32))  # type: ignore[arg-type]  # on purpose


def test_a_hill_is_read_where_it_stands() -> None:
    class Planted(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            maps = torch.full((len(x), 68, 8, 8), -30.0)
            maps[:, :, 3, 5] = 30.0
            return maps

    system = Landmarks(tiny())
    system.networks["landmarks"] = Planted()
    found = system.locate(torch.zeros(1, 3, 32, 32))
    assert found[0, 0].tolist() == pytest.approx([22.0, 14.0])  # centres of pixels (5, 3), stride 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 40}, "multiple of 32"),
        ({"network": "hrnet", "head": "coordinates"}, "HRNet answers"),
        ({"batch_size": 1}, "two faces"),
        ({"sigma": 0.0}, "positive"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(tiny(), **change)


def test_networks_of_the_paper_have_its_maps() -> None:
    torch.manual_seed(0)
    system = Landmarks(replace(landmarks.paper(), size=64))
    with torch.no_grad():
        assert system.maps(torch.zeros(1, 3, 64, 64)).shape == (1, 68, 16, 16)
    factors = [system._schedule(done) for done in (0.0, 0.49, 0.5, 0.84)]
    assert factors == pytest.approx([1, 1, 0.1, 0.01])


# Hourglasses


@pytest.mark.parametrize("block", ["residual", "parallel"])
def test_every_stack_is_supervised(block: Any) -> None:
    torch.manual_seed(0)
    system = hourglass.StackedHourglasses(replace(hourglass.tiny(), block=block, stacks=3))
    terms = gradients(system, batch(68))
    assert set(terms) == {"stack0", "stack1", "stack2"}
    network = system.networks["hourglass"]
    unused = [name for name, p in network.named_parameters() if p.grad is None]
    assert all(".skip." in name for name in unused)
    network.zero_grad()
    first = network(torch.rand(1, 3, 32, 32))[0]
    first.sum().backward()
    assert all(p.grad is None for p in network.hourglasses[1].parameters())


def test_an_hourglass_keeps_the_shape_and_refuses_sizes_it_cannot_halve() -> None:
    net = hourglass.Hourglass(hourglass.Residual, torch.nn.MaxPool2d, 8, 3)
    assert net(torch.rand(1, 8, 16, 24)).shape == (1, 8, 16, 24)
    with pytest.raises(ValueError, match="multiple of 64"):
        replace(hourglass.fan(), size=100)
    with pytest.raises(ValueError, match="68 points at 256"):
        replace(hourglass.compact(), lift=True)


def test_depths_need_the_depth_network() -> None:
    system = hourglass.StackedHourglasses(hourglass.tiny())
    with pytest.raises(ValueError, match="no depth network"):
        system.depths(torch.zeros(1, 3, 32, 32), torch.zeros(1, 68, 2))
    net = hourglass.DepthNet(4, (1, 1, 1, 1))
    assert net(torch.zeros(1, 7, 256, 256)).shape == (1, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "system",
    [
        Landmarks(tiny()),
        Landmarks(replace(tiny(), head="coordinates")),
        hourglass.StackedHourglasses(hourglass.tiny()),
    ],
    ids=["heatmaps", "coordinates", "hourglass"],
)
def test_eight_faces_are_learnt_by_heart(system: Any) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    samples = []
    for number in range(8):
        image = rng.integers(0, 256, (32, 32, 3), np.uint8)
        points = (8 + 16 * rng.random((68, 2))).astype(np.float32)
        samples.append(LandmarkSample(image, points, 12.0, str(number)))
    data = system.collate(samples)
    adam = torch.optim.Adam(system.networks.parameters(), lr=5e-3)

    def update(name: str, terms: Any) -> None:
        adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        adam.step()

    for _ in range(250):
        system.train_step(data, update)
    system.networks.eval()
    with torch.no_grad():
        error = (system.locate(data.image) - data.points).norm(dim=2).mean()
    assert error < 2.5  # a constant answer is off by more than six pixels
