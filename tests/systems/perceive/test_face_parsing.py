import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pentimento import models
from pentimento.data.faces import FaceSample
from pentimento.engine.system import Terms
from pentimento.errors import CheckpointError
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.systems.perceive.face_parsing import (
    PRESETS,
    Batch,
    Config,
    FaceParsing,
    cross_entropy,
    dice,
    imitation,
    ohem,
    tiny,
)


def batch(labels: Tensor | None = None, size: int = 64) -> Batch:
    torch.manual_seed(0)
    image = torch.rand(2, 3, size, size) * 2 - 1
    return Batch(image, torch.randint(0, 19, (2, size, size)) if labels is None else labels)


def step(system: FaceParsing, data: Batch) -> dict[str, float]:
    """Do a training step with plain gradients; return the logged terms."""

    def update(name: str, terms: Terms) -> None:
        assert name in system.optimizers
        torch.stack(list(terms.values())).sum().backward()

    return {name: float(term.detach()) for name, term in system.train_step(data, update).items()}


SMALL = {
    "compact": tiny(),
    "unet": replace(tiny(), network="unet", widths=(4, 8, 8, 8, 8)),
    "bisenet": replace(tiny(), network="bisenet", loss="ohem", dice=0.0),
}


@pytest.mark.parametrize("config", SMALL.values(), ids=SMALL.keys())
def test_a_step_gives_finite_losses_and_gradients_everywhere(config: Config) -> None:
    system = FaceParsing(config)
    assert all(math.isfinite(value) for value in step(system, batch()).values())
    for name, parameter in system.networks.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("config", SMALL.values(), ids=SMALL.keys())
def test_faces_without_any_truth_do_no_harm(config: Config) -> None:
    system = FaceParsing(config)
    terms = step(system, batch(torch.full((2, 64, 64), IGNORE)))
    assert set(terms.values()) == {0.0}
    assert all(not p.grad.any() for p in system.networks.parameters() if p.grad is not None)


def test_imitation_by_hand() -> None:
    # Softened by 2, the teacher says 3:1 and the student 1:1.
    wanted = torch.tensor([2 * math.log(3), 0.0]).view(1, 2, 1, 1)
    apart = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert imitation(torch.zeros(1, 2, 1, 1), wanted, 2.0).item() == pytest.approx(4 * apart)
    assert imitation(wanted, wanted, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_a_teacher_is_followed_where_no_truth_is_known(tmp_path: Path) -> None:
    torch.manual_seed(1)
    teacher = FaceParsing(tiny())
    models.save(teacher, tmp_path, "")
    pupil = FaceParsing(replace(tiny(), teacher=str(tmp_path), temperature=1.0, teacher_weight=0.5))
    data = batch(torch.full((2, 64, 64), IGNORE))

    terms = step(pupil, data)

    with torch.no_grad():
        wanted = models.load(tmp_path).logits(data.image)
        expected = 0.5 * imitation(pupil.logits(data.image), wanted, 1.0).item()
    assert terms["ce"] == 0.0
    assert terms["teacher"] == pytest.approx(expected, rel=1e-4)
    assert all(p.grad is not None and p.grad.any() for p in pupil.networks.parameters())
    assert all("teacher" not in name for name, _ in pupil.networks.named_parameters())


def test_a_missing_teacher_is_told_at_once_and_not_missed_in_use(tmp_path: Path) -> None:
    pupil = FaceParsing(replace(tiny(), teacher=str(tmp_path / "gone")))
    with pytest.raises(CheckpointError, match="gone"):
        step(pupil, batch())
    models.save(pupil, tmp_path / "pupil", "")
    face = np.zeros((64, 64, 3), np.uint8)
    assert models.load(tmp_path / "pupil").predict(face).values.shape == (64, 64)


def test_pixels_without_a_truth_have_no_gradient() -> None:
    logits = torch.randn(2, 19, 4, 4, requires_grad=True)
    labels = torch.randint(0, 19, (2, 4, 4))
    labels[0, :2] = IGNORE
    (cross_entropy(logits, labels, None) + dice(logits, labels)).backward()
    assert logits.grad is not None
    assert not logits.grad[0, :, :2].any()
    assert logits.grad[0, :, 2:].any()


def test_cross_entropy_by_hand() -> None:
    logits = torch.zeros(1, 3, 1, 2)
    labels = torch.tensor([[[0, 1]]])
    weights = torch.tensor([1.0, 3.0, 1.0])
    assert cross_entropy(logits, labels, None).item() == pytest.approx(math.log(3))
    logits[0, 0] = 2.0  # right at the first pixel, wrong at the second
    right, wrong = (math.log(math.exp(2) + 2) - logit for logit in (2, 0))
    expected = (right + 3 * wrong) / 4
    assert cross_entropy(logits, labels, weights).item() == pytest.approx(expected)


def test_dice_is_zero_for_certain_truth_and_counts_small_classes_fully() -> None:
    labels = torch.zeros(1, 10, 10, dtype=torch.long)
    labels[0, 0, 0] = 1
    truth = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    assert dice(truth * 50, labels).item() == pytest.approx(0, abs=1e-4)
    truth[0, 1] = 0  # the one pixel of class 1 goes to class 0
    truth[0, 0] = 1
    missed = 1 - 1 / 2  # nothing of it overlaps; one is added above and below
    drowned = 1 - (2 * 99 + 1) / (100 + 99 + 1)
    assert dice(truth * 50, labels).item() == pytest.approx((missed + drowned) / 2, abs=1e-4)


def test_ohem_takes_the_hard_pixels_or_the_hardest() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0] = torch.tensor([5.0, 5.0, 0.0, -1.0])
    labels = torch.zeros(1, 1, 4, dtype=torch.long)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none").flatten()
    assert ohem(logits, labels, 1).item() == pytest.approx(losses[2:].mean().item())
    assert ohem(logits, labels, 3).item() == pytest.approx(losses[[1, 2, 3]].mean().item())


@pytest.mark.parametrize("size", [1, 33, 64, 100])
def test_predict_takes_squares_of_any_size(size: int) -> None:
    system = FaceParsing(tiny())
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    system.networks.train()
    labels = system.predict(image)
    assert labels.values.shape == (size, size)
    assert labels.labels is CELEBAMASK19
    shares = system.probabilities(image)
    assert shares.shape == (19, size, size)
    assert shares.dtype == np.float32
    assert shares.sum(0) == pytest.approx(np.ones((size, size)), abs=1e-5)
    assert system.networks.training  # as it was


def test_tta_does_not_know_left_from_right() -> None:
    system = FaceParsing(tiny())
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    shares = system.probabilities(image, tta=True)
    turned = system.probabilities(mirrored, tta=True)[:, :, ::-1]
    left, right = CELEBAMASK19.values("l_eye", "r_eye")
    assert turned[left] == pytest.approx(shares[right], abs=1e-4)
    assert turned[13] == pytest.approx(shares[13], abs=1e-4)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 9, 3), np.uint8), "square RGB crop"),
        (np.zeros((8, 8), np.uint8), "square RGB crop"),
        (np.zeros((8, 8, 3)), "expected uint8"),
    ],
)
def test_predict_refuses_what_it_cannot_read(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FaceParsing(tiny()).predict(image)


def test_collate_gives_images_in_the_asserted_range() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[0, 0] = 255
    labels = np.full((64, 64), IGNORE, np.uint8)
    data = FaceParsing(tiny()).collate([FaceSample(image, labels, "a")] * 2)
    assert (data.image.min().item(), data.image.max().item()) == (-1.0, 1.0)
    assert data.image.shape == (2, 3, 64, 64)
    assert (data.labels == IGNORE).all()


def test_validate_scores_a_perfect_network_perfectly() -> None:
    system = FaceParsing(tiny())
    data = batch()
    perfect = torch.nn.functional.one_hot(data.labels, 19).movedim(-1, 1).float()
    system.logits = lambda image: perfect  # type: ignore[method-assign]
    assert system.validate([data]) == {"miou": 1.0, "pixel_accuracy": 1.0}


def test_samples_show_face_truth_and_prediction() -> None:
    system = FaceParsing(tiny())
    data = batch()
    sheet = system.samples(data)
    assert sheet.shape == (2, 3, 3, 64, 64)
    assert 0 <= sheet.min() <= sheet.max() <= 1
    hair = torch.tensor(CELEBAMASK19.colours[13]) / 255
    where = data.labels[0] == 13
    assert sheet[0, 1].permute(1, 2, 0)[where] == pytest.approx(hair.expand(int(where.sum()), 3))


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_schedules_start_high_and_never_rise_after_the_warm_up(preset: object) -> None:
    config = preset()  # type: ignore[operator]
    schedule = FaceParsing(config).optimizers["parser"].schedule
    rates = [schedule(done) for done in np.linspace(0.05, 0.999, 50)]
    assert rates[0] > 0.9
    assert rates == sorted(rates, reverse=True)


def test_the_compact_network_keeps_its_budget() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        system = FaceParsing(PRESETS["compact"]())
        system.logits(torch.zeros(2, 3, 256, 256))
    assert counter.get_total_flops() <= 2 * 4e9
    assert sum(p.numel() for p in system.networks.parameters()) <= 3_000_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 100}, "multiple of 32"),
        ({"widths": (8, 8)}, "five positive"),
        ({"class_weights": (1.0,)}, "19 numbers"),
        ({"batch_size": 1}, "two faces"),
        ({"lr": 0.0}, "positive"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**change)
