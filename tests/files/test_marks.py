import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pentimento.files.marks import SOURCE_TYPE, marked, recipe_of
from pentimento.files.pictures import open_picture, save_picture
from pentimento.structures import Picture

RIGHTS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:rights="mine"/></rdf:RDF></x:xmpmeta>'
)
SUFFIXES = [".jpg", ".png", ".webp", ".tif"]


def picture(alpha: bool = False) -> Picture:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (33, 21, 3), np.uint8)
    return Picture(pixels, alpha=pixels[..., 0].copy() if alpha else None, dpi=(300.0, 300.0))


def written(suffix: str, folder: Path, alpha: bool = False) -> bytes:
    path = folder / f"x{suffix}"
    save_picture(picture(alpha), path)
    return path.read_bytes()


def packet(data: bytes) -> bytes:
    """Return the XMP packet as Pillow, another reader, finds it."""
    with Image.open(io.BytesIO(data)) as image:
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or image.tag_v2[700]
    return found.encode() if isinstance(found, str) else found


def statements(data: bytes) -> list[str | None]:
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    return [found.text for found in ElementTree.fromstring(packet(data)).iter(name)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_mark_is_found_by_another_reader_and_no_pixel_changes(suffix: str, tmp_path: Path):
    data = written(suffix, tmp_path)
    new = marked(data)
    assert statements(new) == [SOURCE_TYPE]
    before, after = open_picture(data), open_picture(new)
    assert np.array_equal(before.pixels, after.pixels)
    assert before.dpi == after.dpi


def test_a_webp_with_alpha_keeps_it(tmp_path: Path):
    data = written(".webp", tmp_path, alpha=True)
    alpha = open_picture(marked(data)).alpha
    assert alpha is not None
    assert np.array_equal(alpha, open_picture(data).alpha)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_second_mark_does_not_pile_up(suffix: str, tmp_path: Path):
    once = marked(written(suffix, tmp_path))
    assert statements(marked(once)) == [SOURCE_TYPE]
    assert np.array_equal(open_picture(marked(once)).pixels, open_picture(once).pixels)


def test_what_a_packet_says_already_stays(tmp_path: Path):
    out = io.BytesIO()
    Image.fromarray(picture().pixels).save(out, "JPEG", xmp=RIGHTS)
    new = marked(out.getvalue())
    assert b'dc:rights="mine"' in packet(new)
    assert statements(new) == [SOURCE_TYPE]


def test_a_png_carries_its_recipe_in_plain_ascii(tmp_path: Path):
    data = written(".png", tmp_path)
    recipe = '{"region":"hair \\u00e9"}'
    assert recipe_of(marked(data, recipe)) == recipe
    assert recipe_of(marked(data)) is None
    with Image.open(io.BytesIO(marked(data, recipe))) as image:
        assert image.info["pentimento"] == recipe
