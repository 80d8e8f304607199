"""Say in a saved picture that it was edited, and how.

The mark is IPTC's digital source type in an XMP packet, which every format here can hold; an XMP
packet that is there already keeps what it says. The recipe is a PNG text chunk.

Source: IPTC Photo Metadata Standard 2023.1, `Iptc4xmpExt:DigitalSourceType`; XMP specification
part 3 (storage in files).
"""

import struct
import zlib
from io import BytesIO
from typing import Final

from PIL import Image, TiffImagePlugin

from pentimento.files.metadata import jpeg_segment, jpeg_segments, png_chunk, png_chunks

SOURCE_TYPE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
RECIPE_KEYWORD: Final = "pentimento"
"""Keyword of the PNG text that holds the recipe."""

_DESCRIPTION: Final = (
    '<rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
    "</rdf:Description>"
).encode()
_END: Final = b"</rdf:RDF>"
_PACKET: Final = (
    (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    ).encode()
    + _DESCRIPTION
    + _END
    + b'</x:xmpmeta><?xpacket end="w"?>'
)
_JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_XMP: Final = b"XML:com.adobe.xmp\0\0\0\0\0"
_TIFF_XMP: Final = 700


def marked(data: bytes, recipe: str | None = None) -> bytes:
    """Return a JPEG, PNG, WebP or TIFF file marked as edited; its coded pixels are untouched.

    Args:
        data: a file that this package has written.
        recipe: what was done; written into a PNG, other formats have no place for it.
    """
    if data.startswith(b"\xff\xd8"):
        return _marked_jpeg(data)
    if data.startswith(b"\x89PNG"):
        return _marked_png(data, recipe)
    if data.startswith(b"RIFF"):
        return _marked_webp(data)
    return _marked_tiff(data)


def recipe_of(data: bytes) -> str | None:
    """Return the recipe that a PNG carries, or None."""
    for kind, payload in png_chunks(data):
        if kind == b"zTXt" and payload.startswith(f"{RECIPE_KEYWORD}\0".encode()):
            return zlib.decompress(payload[len(RECIPE_KEYWORD) + 2 :]).decode("latin-1")
    return None


def _packet(old: bytes | None) -> bytes:
    """Return an XMP packet with the mark: the old one extended where that can be done."""
    if old is None or old.count(_END) != 1 or b"DigitalSourceType" in old:
        return _PACKET
    return old.replace(_END, _DESCRIPTION + _END)


def _marked_jpeg(data: bytes) -> bytes:
    segments: list[tuple[int, bytes]] = []
    rest, old = 2, None
    for marker, payload, after in jpeg_segments(data):
        if marker == 0xDA:
            break
        rest = after
        if marker == 0xE1 and payload.startswith(_JPEG_XMP):
            old = payload[len(_JPEG_XMP) :]
        else:
            segments.append((marker, payload))
    # XMP stands after JFIF and EXIF, which want to be first.
    first = sum(1 for _ in segments[:2] if _[0] in (0xE0, 0xE1))
    segments.insert(first, (0xE1, _JPEG_XMP + _packet(old)))
    return b"\xff\xd8" + b"".join(jpeg_segment(*segment) for segment in segments) + data[rest:]


def _marked_png(data: bytes, recipe: str | None) -> bytes:
    out, old = [data[:8]], None
    chunks = list(png_chunks(data))
    for kind, payload in chunks:
        if kind == b"iTXt" and payload.startswith(_PNG_XMP):
            old = payload[len(_PNG_XMP) :]
            continue
        if kind == b"IDAT" and len(out) and not any(c[4:8] == b"IDAT" for c in out[1:]):
            out.append(png_chunk(b"iTXt", _PNG_XMP + _packet(old)))
            if recipe is not None:
                text = recipe.encode("ascii")
                body = f"{RECIPE_KEYWORD}\0\0".encode() + zlib.compress(text)
                out.append(png_chunk(b"zTXt", body))
        out.append(png_chunk(kind, payload))
    return b"".join(out)


def _marked_webp(data: bytes) -> bytes:
    chunks: list[tuple[bytes, bytes]] = []
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 8 + length + (length & 1)
    old = next((payload for kind, payload in chunks if kind == b"XMP "), None)
    chunks = [c for c in chunks if c[0] != b"XMP "]
    if chunks[0][0] != b"VP8X":
        with Image.open(BytesIO(data)) as image:
            (width, height), alpha = image.size, image.mode == "RGBA"
        size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        chunks.insert(0, (b"VP8X", bytes([0x10 * alpha, 0, 0, 0]) + size))
    header = chunks[0][1]
    chunks[0] = (b"VP8X", bytes([header[0] | 0x04]) + header[1:])
    chunks.append((b"XMP ", _packet(old)))
    body = b"WEBP" + b"".join(
        struct.pack("<4sI", kind, len(part)) + part + b"\0" * (len(part) & 1)
        for kind, part in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _marked_tiff(data: bytes) -> bytes:
    """Write the first directory once more, with the packet, behind the file's end."""
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    entries = [data[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(count)]
    following = data[at + 2 + 12 * count : at + 6 + 12 * count]
    tag = struct.Struct(f"{order}H")
    with Image.open(BytesIO(data)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        old = image.tag_v2.get(_TIFF_XMP)
    packet = _packet(old if isinstance(old, bytes) else None)
    data += b"\0" * (len(data) & 1)
    entry = struct.pack(f"{order}HHII", _TIFF_XMP, 1, len(packet), len(data))
    entries = sorted(
        [e for e in entries if tag.unpack_from(e)[0] != _TIFF_XMP] + [entry],
        key=lambda e: int(tag.unpack_from(e)[0]),
    )
    data += packet + b"\0" * (len(packet) & 1)
    directory = tag.pack(len(entries)) + b"".join(entries) + following
    return data[:4] + struct.pack(f"{order}I", len(data)) + data[8:] + directory
