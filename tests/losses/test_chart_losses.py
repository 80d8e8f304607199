"""Chart losses at points, beside the recorded ones (`parity`)."""

import pytest
import torch

from pentimento.losses.charts import Marks, at_points, chart_losses, in_box, resample_masks
from pentimento.ops.charts import Charts


def charts() -> Charts:
    return Charts(*(torch.zeros(1, n, 4, 4) for n in (2, 3, 3, 3)))


def marks(xy: list[list[float]], part: list[int]) -> Marks:
    k = len(part)
    return Marks(
        torch.zeros(k, dtype=torch.int64), torch.tensor(xy), torch.tensor(part),
        torch.full((k, 2), 0.5),
    )  # fmt: skip


def test_points_outside_of_the_map_do_not_count() -> None:
    masks = torch.zeros(1, 4, 4, dtype=torch.int64)
    inside = chart_losses(charts(), marks([[1.0, 2.0]], [1]), masks)
    both = chart_losses(charts(), marks([[1.0, 2.0], [4.0, 1.0], [-0.1, 0.0]], [1, 1, 2]), masks)
    assert inside == both
    assert float(inside["u"]) == pytest.approx(0.01 * 0.5 * 0.5**2)
    assert float(inside["part"]) == pytest.approx(float(torch.tensor(3.0).log()))
    none = chart_losses(charts(), marks([[9.0, 9.0]], [1]), masks)
    assert float(none["part"]) == float(none["u"]) == 0


def test_background_points_teach_no_position() -> None:
    masks = torch.zeros(1, 4, 4, dtype=torch.int64)
    assert float(chart_losses(charts(), marks([[1.0, 1.0]], [0]), masks)["v"]) == 0


def test_maps_are_read_bilinearly_at_the_place_in_the_found_box() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    assert at_points(ramp, marks([[1.25, 2.0]], [0])).tolist() == [[1.25]]
    truth, found = torch.tensor([[0.0, 0, 64, 64]]), torch.tensor([[32.0, 0, 64, 64]])
    assert in_box(torch.tensor([[192.0, 128.0]]), truth, found, 4).tolist() == [[2.0, 2.0]]


def test_masks_are_zero_beyond_their_box() -> None:
    mask = torch.ones(1, 8, 8)
    truth, found = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[-8.0, 0, 8, 8]])
    assert resample_masks(mask, truth, found, 4)[0, 1].tolist() == [0, 0, 1, 1]
