from dataclasses import replace

import numpy as np
import pytest
import torch

from pentimento.data.collage import Crowd, face_mesh
from pentimento.systems.perceive.retinaface import (
    Batch,
    Config,
    Detector,
    Raw,
    RetinaFace,
    compact,
    match,
    mesh_loss,
    priors,
    score_loss,
    tiny,
)

PRIORS = torch.tensor([[10.0, 10, 10, 10], [16, 10, 10, 10], [50, 50, 10, 10]])


def crowd(boxes: list, size: int = 64, vertices: int = 5) -> Crowd:
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    inner = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    points = rows[:, None, :2] + inner * (rows[:, None, 2:] - rows[:, None, :2])
    surface = np.concatenate([points, points[..., :1] / 10], 2)
    rng = np.random.default_rng(len(rows))
    image = rng.integers(0, 60, (size, size, 3), np.uint8)
    for (left, top, right, bottom), five in zip(rows.astype(int), points, strict=True):
        image[top:bottom, left:right] = (230, 190, 160)
        for x, y in five.astype(int):
            image[y - 1 : y + 2, x - 1 : x + 2] = (40, 20, 90)
    return Crowd(image, rows, points, surface[:, :vertices])


def test_a_prior_learns_the_face_it_overlaps_and_every_face_its_best_prior():
    faces = torch.tensor([[5.0, 5, 15, 15], [47, 47, 53, 53]])
    assert match(faces, PRIORS, 0.35, 0.2).tolist() == [0, -1, 1]  # the second overlaps by 0.36
    assert match(faces, PRIORS, 0.5, 0.2).tolist() == [0, -1, 1]
    assert match(faces, PRIORS, 0.5, 0.4).tolist() == [0, -1, -1]


def test_a_face_too_small_claims_a_prior_that_another_made_positive():
    faces = torch.tensor([[5.0, 5, 15, 15], [9, 9, 11, 11]])  # IoU 0.04 with the same prior
    assert match(faces, PRIORS, 0.35, 0.2).tolist() == [1, -1, -1]


@pytest.mark.parametrize("faces", [[], [[4, 4, 4, 9]], [[0, 0, 0, 0], [7, 7, 3, 9]]])
def test_no_face_and_faces_without_extent_claim_nothing(faces: list):
    rows = torch.tensor(faces, dtype=torch.float32).view(-1, 4)
    assert match(rows, PRIORS, 0.35, 0.2).tolist() == [-1, -1, -1]


def test_priors_by_hand():
    grid = priors(20, 36, ((16, 32), (64, 128), (256, 512)))
    assert len(grid) == 2 * (3 * 5 + 2 * 3 + 1 * 2)
    assert grid[0].tolist() == [4, 4, 16, 16]
    assert grid[3].tolist() == [12, 4, 32, 32]
    assert grid[-1].tolist() == [48, 16, 512, 512]


def test_the_hardest_negatives_count():
    logits = torch.zeros(1, 4, 2)
    logits[0, 1, 1] = 5.0  # background that looks like a face
    positive = torch.tensor([[True, False, False, False]])
    one, two = float(np.log(2)), float(np.log1p(np.exp(5)))
    assert score_loss(logits, positive, 1, 0).item() == pytest.approx(one + two, rel=1e-5)
    assert score_loss(logits, positive, 2, 0).item() == pytest.approx(2 * one + two, rel=1e-5)
    assert score_loss(logits, ~positive & False, 7, 0).item() == 0
    assert score_loss(logits, ~positive & False, 7, 1).item() == pytest.approx(two, rel=1e-5)


def losses(samples: list[Crowd], config: Config) -> tuple[RetinaFace, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    system = RetinaFace(config)
    batch = system.collate(samples)
    return system, dict(system.losses(system.networks["detector"](batch.image), batch))


@pytest.mark.parametrize(
    "boxes",
    [
        [[], []],
        [[], [[8, 8, 40, 50]]],
        [[[5, 5, 5, 5]], [[9, 9, 9, 30]]],
        [[[-10, -10, 200, 200]], [[0, 0, 1, 1]]],
    ],
    ids=["no truths", "one picture without", "boxes without extent", "beyond the picture"],
)
def test_losses_stay_finite_whatever_the_truths(boxes: list):
    system, terms = losses([crowd(rows) for rows in boxes], tiny())
    assert set(terms) == {"score", "box", "points", "vertices"}
    assert all(torch.isfinite(value) for value in terms.values())
    sum(terms.values()).backward()
    gradients = [p.grad for p in system.networks.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_faces_whose_points_are_unknown_still_teach_their_box():
    known, unknown = crowd([[10, 10, 42, 42]]), crowd([[10, 10, 42, 42]])
    unknown.points[:], unknown.vertices[:] = np.nan, np.nan
    _, terms = losses([unknown, unknown], tiny())
    assert terms["box"] > 0
    assert terms["points"] == terms["vertices"] == 0
    _, terms = losses([known, unknown], tiny())
    assert terms["points"] > 0
    assert terms["vertices"] > 0


def test_vertices_that_nobody_knows_have_no_score():
    system, unknown = RetinaFace(tiny()), crowd([[10, 10, 42, 42]])
    assert "vertex_nme" in system.validate([system.collate([unknown])])
    unknown.vertices[:] = np.nan
    assert "vertex_nme" not in system.validate([system.collate([unknown])])


def test_vertices_are_learnt_by_their_places_and_by_the_lengths_of_edges():
    wanted = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(0))
    assert mesh_loss(wanted, wanted).item() == pytest.approx(0, abs=1e-4)
    # A shift of (1, 2, 0) moves every vertex by 3 and no edge.
    shift = torch.tensor([1.0, 2, 0])
    assert mesh_loss(wanted + shift, wanted).item() == pytest.approx(3, abs=1e-4)
    # Twice as large: every edge is as much too long as it is long.
    a, b = torch.from_numpy(face_mesh().edges).T
    long = (wanted[:, a] - wanted[:, b]).norm(dim=-1).mean() + wanted.abs().sum(-1).mean()
    assert mesh_loss(2 * wanted, wanted).item() == pytest.approx(long.item(), rel=1e-4)
    # Vertices that are not the world's have no known edges; none at all have no loss.
    assert mesh_loss(wanted[:, :5] + shift, wanted[:, :5]).item() == pytest.approx(3, abs=1e-5)
    fallen = torch.zeros(2, 300, 3, requires_grad=True)
    mesh_loss(fallen, wanted).backward()
    assert fallen.grad is not None
    assert fallen.grad.isfinite().all()
    assert mesh_loss(wanted[:0], wanted[:0]).item() == 0


def test_heads_can_be_switched_off_and_then_answer_with_nothing():
    system, terms = losses([crowd([[10, 10, 42, 42]])] * 2, replace(tiny(), points=False))
    assert set(terms) == {"score", "box", "vertices"}
    assert system.predict(np.zeros((40, 50, 3), np.uint8), threshold=0.0).points.shape[1:] == (0, 2)
    system, terms = losses([crowd([[10, 10, 42, 42]], vertices=0)] * 2, replace(tiny(), vertices=0))
    assert set(terms) == {"score", "box", "points"}
    assert set(system.networks) == {"detector"}


def test_a_perfect_answer_has_no_loss_and_is_found_again():
    system = RetinaFace(tiny())
    sample = crowd([[12, 10, 40, 46]])
    batch = system.collate([sample])
    from pentimento.ops.boxes import encode, encode_points
    from pentimento.systems.perceive.retinaface import found_faces

    grid = priors(64, 64, tiny().priors)
    face = match(batch.boxes[0], grid, 0.35, 0.2)
    sure = torch.where(face >= 0, 30.0, -30.0)
    raw = Raw(
        torch.stack([-sure, sure], 1)[None],
        encode(batch.boxes[0, :1].expand(len(grid), 4), grid)[None],
        encode_points(batch.points[0, :1].expand(len(grid), 5, 2), grid).flatten(1)[None],
        torch.zeros(1, len(grid), 4),
    )
    terms = system.losses(raw, batch)
    assert all(terms[name] < 1e-6 for name in ("score", "box", "points"))
    found = found_faces(raw.of(0), grid, 0.5)
    np.testing.assert_allclose(found.boxes.xyxy, sample.boxes, atol=1e-3)
    np.testing.assert_allclose(found.points, sample.points, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (33, 64), (64, 65)])
def test_any_size_is_looked_at(shape: tuple[int, int]):
    found = RetinaFace(tiny()).predict(np.zeros((*shape, 3), np.uint8), threshold=0.0)
    assert len(found.boxes) == len(found.points) == len(found.vertices) > 0


@pytest.mark.parametrize("bad", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_other_arrays_are_refused(bad: np.ndarray):
    with pytest.raises(ValueError, match="uint8 RGB"):
        RetinaFace(tiny()).predict(bad)


@pytest.mark.parametrize(
    "wrong", [{"size": 100}, {"priors": ((16,), (32, 64), (128,))}, {"width": 6}, {"batch_size": 1}]
)
def test_configurations_that_cannot_be_built_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(compact(), **wrong)


def test_the_resnet_is_built_from_its_configuration():
    with torch.device("meta"):
        detector = Detector(replace(compact(), backbone="resnet50", width=256))
    assert sum(p.numel() for p in detector.parameters()) == 27_293_600


@pytest.mark.slow
def test_eight_pictures_are_learnt_by_heart_with_all_heads():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(8):
        left, top = rng.integers(2, 30, 2)
        extent = rng.integers(18, 32, 2)
        samples.append(crowd([[left, top, left + extent[0], top + extent[1]]]))
    system = RetinaFace(replace(tiny(), width=16))
    batch = system.collate(samples)
    adam = torch.optim.Adam(system.networks.parameters(), 5e-3)

    def update(name: str, terms: dict) -> None:
        adam.zero_grad()
        sum(terms.values()).backward()
        adam.step()

    first = system.train_step(batch, update)
    for _ in range(250):
        last = system.train_step(batch, update)
    system.networks.eval()
    scores = system.validate([batch])
    assert last["vertices"] < 0.2 * first["vertices"]
    assert scores["ap50"] > 0.95
    assert scores["nme"] < 0.15


def test_a_batch_pads_to_the_fullest_picture():
    system = RetinaFace(tiny())
    batch = system.collate([crowd([[1, 1, 9, 9], [20, 20, 40, 40]]), crowd([])])
    assert isinstance(batch, Batch)
    assert batch.boxes.shape == (2, 2, 4)
    assert batch.boxes[1].eq(0).all()
    assert batch.vertices.shape == (2, 2, 5, 3)
