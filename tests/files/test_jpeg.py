"""Grafting into JPEG files: what did not change decodes to the very same pixels."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pentimento.files import huffman, jpeg
from pentimento.files.metadata import jpeg_segments


def textured(height, width, channels, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / (5 + c) + y / (7 + 2 * c)) for c in range(channels)]
    noisy = np.stack(waves, -1) + rng.normal(0, 10, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encoded(pixels, **options):
    out = BytesIO()
    plane = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(plane, "CMYK" if pixels.shape[2] == 4 else None).save(out, "JPEG", **options)
    return out.getvalue()


def decoded(data):
    return np.atleast_3d(np.asarray(Image.open(BytesIO(data))))


def brightened(pixels, rows, columns, by=40):
    edited = pixels.astype(int)
    edited[rows, columns] += by
    return np.clip(edited, 0, 255).astype(np.uint8)


CODINGS = [
    pytest.param(3, {"subsampling": "4:4:4"}, 8, id="444"),
    pytest.param(3, {"subsampling": "4:2:2"}, 16, id="422"),
    pytest.param(3, {"subsampling": "4:2:0"}, 16, id="420"),
    pytest.param(3, {"subsampling": "4:2:0", "progressive": True}, 16, id="420-progressive"),
    pytest.param(3, {"subsampling": "4:2:0", "restart_marker_blocks": 3}, 16, id="420-restarts"),
    pytest.param(3, {"keep_rgb": True}, 8, id="rgb"),
    pytest.param(1, {}, 8, id="grey"),
    pytest.param(1, {"progressive": True}, 8, id="grey-progressive"),
    pytest.param(4, {}, 8, id="cmyk"),
    pytest.param(4, {"progressive": True}, 8, id="cmyk-progressive"),
]


@pytest.mark.parametrize(("channels", "options", "unit"), CODINGS)
@pytest.mark.parametrize("size", [(64, 96), (61, 83), (17, 130)])
@pytest.mark.parametrize("quality", [35, 92])
def test_graft_changes_the_edit_and_nothing_beyond_its_blocks(
    channels, options, unit, size, quality
):
    source = encoded(textured(*size, channels), quality=quality, **options)
    before = decoded(source)
    rows, columns = slice(9, 16), slice(34, 47)
    after = brightened(before, rows, columns)
    result = decoded(jpeg.graft(source, before, after, None))

    changed = (result != before).any(axis=2)
    y, x = np.nonzero(changed)
    top, left = rows.start // unit * unit, columns.start // unit * unit
    bottom, right = -(-rows.stop // unit) * unit, -(-columns.stop // unit) * unit
    assert top - 1 <= y.min()
    assert y.max() <= bottom
    assert left - 1 <= x.min()
    assert x.max() <= right
    # The asked-for change arrived, as well as these tables can say it.
    inside = np.abs(result[rows, columns].astype(int) - after[rows, columns]).mean()
    assert inside < (8 if quality == 35 else 4)


@pytest.mark.parametrize(("channels", "options", "unit"), CODINGS)
def test_graft_of_no_change_decodes_to_the_source(channels, options, unit):
    source = encoded(textured(61, 83, channels), quality=80, **options)
    before = decoded(source)
    assert np.array_equal(decoded(jpeg.graft(source, before, before, None)), before)


def test_graft_keeps_tables_and_subsampling():
    source = encoded(textured(40, 40, 3), quality=77, subsampling="4:2:0")
    before = decoded(source)
    result = jpeg.graft(source, before, brightened(before, slice(5), slice(5)), None)
    one, other = Image.open(BytesIO(source)), Image.open(BytesIO(result))
    assert one.quantization == other.quantization
    assert one.layer == other.layer


def test_graft_handles_one_pixel():
    source = encoded(textured(1, 1, 3), quality=95, subsampling="4:4:4")
    before = decoded(source)
    after = np.full_like(before, 200)
    assert np.abs(decoded(jpeg.graft(source, before, after, None)).astype(int) - 200).max() <= 3


def test_graft_of_a_ycck_file():
    """Pillow writes no YCCK; turning the Adobe marker of a CMYK file into 2 makes one."""
    source = encoded(textured(48, 48, 4), quality=92)
    at = source.index(b"Adobe") + 11
    source = source[:at] + b"\x02" + source[at + 1 :]
    before = decoded(source)
    after = brightened(before, slice(16, 24), slice(16, 24), by=25)
    result = decoded(jpeg.graft(source, before, after, None))
    inside = np.s_[16:24, 16:24]
    wanted = after[inside].astype(int) - before[inside]
    got = result[inside].astype(int) - before[inside]
    assert np.abs(got - wanted).mean() < 0.5 * np.abs(wanted).mean()
    assert np.array_equal(result[30:], before[30:])


def test_graft_declines_what_it_cannot_read():
    source = encoded(textured(32, 32, 3), quality=80)
    before = decoded(source)
    after = brightened(before, slice(5), slice(5))
    frame = source.index(b"\xff\xc0")
    arithmetic = source[: frame + 1] + b"\xc9" + source[frame + 2 :]
    assert jpeg.graft(arithmetic, before, after, None) is None
    assert jpeg.graft(source[: len(source) // 2], before, after, None) is None


def test_graft_survives_damaged_files():
    """Any byte may lie: the answer is a file that decodes right outside the edit, or None."""
    source = bytearray(encoded(textured(32, 48, 3), quality=60, progressive=True))
    before = decoded(bytes(source))
    after = brightened(before, slice(8), slice(8))
    rng = np.random.default_rng(3)
    for at in rng.integers(2, len(source), 150):
        broken = bytearray(source)
        broken[at] = rng.integers(256)
        result = None
        try:
            result = jpeg.graft(bytes(broken), before, after, None)
        except OSError:
            pytest.fail(f"byte {at}")
        if result is not None:
            assert np.array_equal(decoded(result)[20:], before[20:])


def test_code_lengths_are_limited_and_never_all_ones():
    counts = np.zeros(256, np.int64)
    a, b = 1, 1
    for symbol in range(30):  # Fibonacci counts: an unlimited Huffman code would be 30 bits deep
        counts[symbol] = a
        a, b = b, a + b
    lengths = huffman.code_lengths(counts)
    assert sorted(s for group in lengths for s in group) == list(range(30))
    kraft = sum(len(group) / 2**length for length, group in enumerate(lengths, 1))
    assert kraft < 1  # one code is left over: the one of all ones
    assert 29 in lengths[0] + lengths[1]  # the most frequent has a short one


def test_segments_are_walked_over_all_scans():
    source = encoded(textured(32, 32, 3), progressive=True)
    scans = [marker for marker, _, _ in jpeg_segments(source) if marker == 0xDA]
    assert len(scans) > 3
