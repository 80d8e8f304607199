import numpy as np
import pytest
import torch

from pentimento.errors import DataError
from pentimento.ops.pad import pad_to_multiple
from pentimento.ops.planes import pixels_of, planes, with_channels


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 17), (16, 16), (5, 40)])
def test_padding_keeps_the_corner_and_reflects(height: int, width: int) -> None:
    x = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    padded = pad_to_multiple(x, 8, least=16)
    assert padded.shape[2] % 8 == padded.shape[3] % 8 == 0
    assert min(padded.shape[2:]) >= 16
    assert padded[..., :height, :width].equal(x)
    wide = (0, padded.shape[3] - width), (0, padded.shape[2] - height)
    expected = np.pad(x[0, 0].numpy(), wide[::-1], mode="reflect")
    assert np.array_equal(padded[0, 0].numpy(), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_planes_come_back_bit_by_bit(dtype: type, channels: int) -> None:
    most = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, most, (9, 7, channels), dtype, endpoint=True)
    pixels[0, 0], pixels[0, 1] = 0, most
    seen = planes(pixels, channels)
    assert seen.dtype == np.float32
    assert (seen.min(), seen.max()) == (-1, 1)
    assert np.array_equal(pixels_of(seen, dtype), pixels)


def test_classes_become_planes_and_the_likeliest_comes_back() -> None:
    values = np.array([[0, 5], [2, 255]], np.uint8)
    seen = planes(values, 6)
    assert seen.sum(0).tolist() == [[1, 1], [1, 0]]
    assert seen[5, 0, 1] == seen[2, 1, 0] == 1
    assert pixels_of(seen, np.uint8).tolist() == [[0, 5], [2, 0]]
    with pytest.raises(DataError, match=r"\[5\].*0\.\.4"):
        planes(values, 5)


def test_channels_change_by_meaning() -> None:
    red = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    assert with_channels(red, 1).tolist() == [[[76]] * 2] * 2
    assert with_channels(red[..., :1], 3).shape == (2, 2, 3)
    assert with_channels(np.dstack([red, red[..., :1]]), 3).tolist() == red.tolist()
    with pytest.raises(DataError, match=r"a\.png: 3 channels cannot become 2"):
        with_channels(red, 2, "a.png")
