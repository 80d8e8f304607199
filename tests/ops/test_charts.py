"""Charts: reading them, and turning them inside out."""

import pytest
import torch

from pentimento.ops.charts import Charts, position_map, read_charts, seen_at


def test_a_pixel_shows_the_best_part_where_the_segmentation_sees_anything() -> None:
    coarse = torch.zeros(1, 2, 4, 4)
    coarse[:, 1, :, 2:] = 5
    coarse[:, 0, :, :2] = 5
    fine = torch.zeros(1, 3, 4, 4)
    fine[:, 2] = 3
    u, v = torch.full((1, 3, 4, 4), 0.1), torch.full((1, 3, 4, 4), 0.2)
    u[:, 2], v[:, 2] = 0.7, 0.9
    part, uv = read_charts(Charts(coarse, fine, u, v), 4, 4)
    assert part[0, 0].tolist() == [0, 0, 2, 2]
    assert uv[0, :, 0, 3].tolist() == pytest.approx([0.7, 0.9])
    assert not uv[0, :, :, :2].any()
    part, uv = read_charts(Charts(coarse, fine, u, v), 9, 7)
    assert (part.shape, uv.shape) == ((1, 9, 7), (1, 2, 9, 7))


def test_charts_and_position_maps_are_inverses() -> None:
    side = 48
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    # A surface seen turned, sheared and bent.
    u = 0.15 + (0.6 * x + 0.1 * y) / side + 0.02 * torch.sin(6 * y / side)
    v = 0.85 - (0.65 * y - 0.1 * x) / side
    uv = torch.stack([u, v])
    shown = (x - side / 2) ** 2 + (y - side / 2) ** 2 < 20**2
    positions, weight = position_map(uv, shown, 24)
    assert (weight > 0).sum() > 60
    inner = (x - side / 2) ** 2 + (y - side / 2) ** 2 < 14**2  # whose texels are seen all around
    back = seen_at(positions, uv[:, inner].T)
    off = (back - torch.stack([x, y])[:, inner].T).norm(dim=1)
    assert off.max() < 0.5  # px; a texel is 3 px wide
    assert not position_map(uv, torch.zeros_like(shown), 24)[1].any()
