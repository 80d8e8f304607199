"""The sRGB view of pictures, and the way back into their own colours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import ImageCms

from pentimento.files.compose import composite, to_rgb8
from pentimento.structures import Picture

CHANNELS = {"grey": 1, "rgb": 3, "cmyk": 4}


@st.composite
def pictures(draw):
    mode = draw(st.sampled_from(sorted(CHANNELS)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    pixels = draw(arrays(dtype, (*size, CHANNELS[mode])))
    alpha = draw(st.none() | arrays(dtype, size))
    return Picture(pixels, mode, alpha, dpi=(300.0, 300.0))


def floats(picture, channels, low, high, draw):
    size = (picture.height, picture.width, channels)[: 2 + (channels > 1)]
    return draw(arrays(np.float32, size, elements=st.floats(low, high, width=32)))


@given(pictures(), st.data())
def test_weight_zero_keeps_every_byte(picture, data):
    rgb = floats(picture, 3, 0, 255, data.draw)
    weight = floats(picture, 1, 0, 1, data.draw)
    result = composite(picture, rgb, weight)
    kept = weight == 0
    assert np.array_equal(result.pixels[kept], picture.pixels[kept])
    assert result.pixels.dtype == picture.pixels.dtype
    assert result.alpha is picture.alpha
    assert result.dpi == picture.dpi
    assert composite(picture, rgb, np.zeros_like(weight)) is picture


@given(pictures(), st.data())
def test_unchanged_view_keeps_every_byte(picture, data):
    weight = floats(picture, 1, 0, 1, data.draw)
    result = composite(picture, to_rgb8(picture).astype(np.float32), weight)
    assert np.array_equal(result.pixels, picture.pixels)


@given(pictures(), st.data())
def test_weight_one_takes_the_new_colour(picture, data):
    rgb = np.rint(floats(picture, 3, 0, 255, data.draw))
    if picture.mode == "grey":
        rgb[:] = rgb[..., :1]
    result = to_rgb8(composite(picture, rgb, np.ones(rgb.shape[:2], np.float32)))
    assert np.abs(result - rgb).max() <= 1  # one level: CMYK rounds twice


def test_deep_precision_survives_a_small_change():
    pixels = np.array([[[1000, 20000, 65000]]], np.uint16)
    view = to_rgb8(Picture(pixels))
    result = composite(Picture(pixels), view + np.float32([1, 0, -2]), np.ones((1, 1), np.float32))
    assert result.pixels.tolist() == [[[1257, 20000, 64486]]]


def test_half_weight_moves_half_way():
    picture = Picture(np.full((1, 2, 3), 100, np.uint8))
    rgb = np.full((1, 2, 3), 200, np.float32)
    result = composite(picture, rgb, np.array([[0.5, 0.25]], np.float32))
    assert result.pixels[0, :, 0].tolist() == [150, 125]


def test_grey_takes_luma():
    picture = Picture(np.zeros((1, 1, 1), np.uint8), "grey")
    rgb = np.array([[[255, 0, 0]]], np.float32)
    assert composite(picture, rgb, np.ones((1, 1), np.float32)).pixels.item() == 76


def test_cmyk_view_by_hand():
    ink = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 128]]], np.uint8)
    view = to_rgb8(Picture(ink, "cmyk"))
    assert view[0].tolist() == [[255] * 3, [0, 255, 255], [0] * 3, [127] * 3]


def test_a_profile_that_is_not_for_ink_is_as_none():
    ink = np.array([[[10, 20, 30, 40]]], np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = to_rgb8(Picture(ink, "cmyk"))
    for icc in (srgb, b"not a profile"):
        assert np.array_equal(to_rgb8(Picture(ink, "cmyk", icc=icc)), plain)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_weights_out_of_range_are_refused(bad):
    picture = Picture(np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(ValueError, match="weights"):
        composite(picture, np.zeros((1, 1, 3), np.float32), np.full((1, 1), bad, np.float32))


def test_sizes_must_fit():
    picture = Picture(np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="do not fit"):
        composite(picture, np.zeros((3, 2, 3), np.float32), np.zeros((2, 3), np.float32))
