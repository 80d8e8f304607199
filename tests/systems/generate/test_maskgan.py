"""MaskGAN: masks between masks, two stages, losses and repainting."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pentimento.data.faces import FaceSample
from pentimento.engine.settings import Settings
from pentimento.engine.update import Optimizers
from pentimento.labels import IGNORE
from pentimento.structures import LabelMap
from pentimento.systems.generate.maskgan import (
    Batch,
    Blender,
    Config,
    MaskGAN,
    feature_matching,
    interpolated_masks,
    least_squares,
    one_hot,
    tiny,
    vae_terms,
)


def _system() -> MaskGAN:
    torch.manual_seed(0)
    return MaskGAN(tiny())


def _batch(system: MaskGAN) -> Batch:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 19, (2, 4, 4), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    labels[0, 0] = IGNORE
    faces = zip(images, labels, strict=True)
    return system.collate([FaceSample(image, values, "a") for image, values in faces])


def _train(system: MaskGAN, steps: int) -> list[dict[str, float]]:
    fabric = Fabric(accelerator="cpu", devices=1)
    settings = Settings(steps=steps, batch_size=2)
    update = Optimizers(fabric, system.networks, system.optimizers, settings)
    batch, logs = _batch(system), []
    for step in range(steps):
        update.begin(step / steps, last=True)
        terms = system.train_step(batch, update)
        logs.append({name: term.item() for name, term in terms.items()})
    return logs


def _changed(system: MaskGAN, before: dict[str, Tensor]) -> set[str]:
    now = system.networks.state_dict()
    return {key.split(".")[0] for key in now if not torch.equal(now[key], before[key])}


def _state(system: MaskGAN) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in system.networks.state_dict().items()}


def test_unknown_pixels_are_no_class_and_cost_nothing() -> None:
    labels = torch.tensor([[[0, 2], [IGNORE, 1]]])
    mask = one_hot(labels, 3)
    assert mask[0, :, 0, 1].tolist() == [0, 0, 1]
    assert mask[0, :, 1, 0].tolist() == [0, 0, 0]
    logits = torch.where(mask > 0, 50.0, 0.0)
    terms = vae_terms(logits, labels, torch.ones(1, 4), torch.zeros(1, 4), kl_weight=0.1)
    assert terms["vae/mask"].item() == pytest.approx(0, abs=1e-6)
    assert terms["vae/kl"].item() == pytest.approx(0.1 * 4 * 0.5)


def test_masks_are_interpolated_two_fifths_of_the_way_to_both_sides() -> None:
    class Shares(nn.Module):
        """Encode a mask by the shares of its classes."""

        def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
            return mask.mean((2, 3)), mask

    seen: list[Tensor] = []

    class Recorder(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            seen.append(z)
            return z[:, :, None, None].expand(-1, -1, 2, 2)

    mask = one_hot(torch.tensor([[[0, 0], [0, 1]]]), 2)  # shares 3/4 and 1/4
    reference = one_hot(torch.tensor([[[1, 1], [1, 1]]]), 2)  # shares 0 and 1
    towards, away = interpolated_masks(Shares(), Recorder(), mask, reference, 2.5)
    torch.testing.assert_close(seen[0], torch.tensor([[0.45, 0.55]]))
    torch.testing.assert_close(seen[1], torch.tensor([[1.05, -0.05]]))
    assert towards[0, :, 0, 0].tolist() == [0, 1]
    assert away[0, :, 0, 0].tolist() == [1, 0]


def test_feature_matching_sums_layers_averages_scales_and_leaves_the_scores_out() -> None:
    zero, one = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    real = [[zero, zero, zero], [zero, zero, zero]]
    fake = [[one, 2 * one, 9 * one], [one, one, 9 * one]]
    assert feature_matching(fake, real).item() == (1 + 2 + 1 + 1) / 2
    assert least_squares(fake, 1.0).item() == 64 + 64


def test_blender_joins_within_its_two_pictures() -> None:
    torch.manual_seed(0)
    one, two = torch.rand(2, 2, 3, 16, 16)
    joined, alpha = Blender(4)(one, two)
    assert (joined >= torch.minimum(one, two) - 1e-6).all()
    assert (joined <= torch.maximum(one, two) + 1e-6).all()
    torch.testing.assert_close(joined, alpha * one + (1 - alpha) * two)


def test_stage_one_leaves_the_blender_and_stage_two_the_mask_vae() -> None:
    system = _system()  # four steps, two of each stage
    before = _state(system)
    first = _train(system, 2)
    vae = {"mask_encoder", "mask_decoder"}
    assert _changed(system, before) == {"generator", "critic"} | vae
    assert all("vae/kl" in log and "critic/blend" not in log for log in first)
    before = _state(system)
    second = _train(system, 2)
    assert _changed(system, before) == {"generator", "critic", "blender"}
    assert all("vae/kl" not in log and "critic/blend" in log for log in second)
    assert all(np.isfinite(list(log.values())).all() for log in first + second)


def test_the_stage_survives_saving() -> None:
    system, other = _system(), _system()
    _train(system, 2)
    other.load_extra_state(system.extra_state())
    assert "critic/blend" in _train(other, 1)[0]


def test_same_seed_same_bits() -> None:
    states = []
    for _ in range(2):
        system = _system()
        torch.manual_seed(1)
        _train(system, 3)
        states.append(_state(system))
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


def test_repaint_follows_mask_style_picture_and_style_mask() -> None:
    system = _system()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
    mask = LabelMap(rng.integers(0, 19, (64, 32), dtype=np.uint8))
    painted = system.repaint(mask, image, mask)
    assert painted.shape == (64, 32, 3)
    assert painted.dtype == np.uint8
    turned = LabelMap(np.ascontiguousarray(mask.values[::-1]))
    for changed in (
        system.repaint(turned, image, mask),
        system.repaint(mask, image[::-1].copy(), mask),
        system.repaint(mask, image, turned),
    ):
        assert not np.array_equal(changed, painted)
    with pytest.raises(ValueError, match="must have one size"):
        system.repaint(mask, image[:32], mask)
    short = LabelMap(mask.values[:40])
    with pytest.raises(ValueError, match="multiples of 32"):
        system.repaint(short, image[:40], short)


def test_validation_measures_repainting_under_the_own_mask() -> None:
    system = _system()
    batch = _batch(system)

    class Nearly(nn.Module):
        def forward(self, mask: Tensor, style_mask: Tensor, image: Tensor) -> Tensor:
            return image + 0.02

    system.networks["generator"] = Nearly()
    metrics = system.validate([batch])
    assert metrics["psnr"] == pytest.approx(40.0, abs=1e-3)  # 10 log10(4 / 0.0004)
    assert 0 <= metrics["vae_accuracy"] <= 1


def test_sheet_has_three_pictures_per_face() -> None:
    system = _system()
    with torch.no_grad():
        sheet = system.samples(_batch(system))
    assert sheet.shape == (2, 3, 3, 32, 32)
    assert sheet.min() >= 0
    assert sheet.max() <= 1


@pytest.mark.parametrize("wrong", [{"size": 48}, {"batch_size": 1}, {"first_stage": 1.0}])
def test_a_config_that_cannot_train_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)
