"""What a file says beside its pixels: which of it travels on, and how position is left behind.

A position hides in more places than the GPS directory: XMP packets, maker notes, IPTC records and
undocumented segments name it too. So this module lists what is *kept*; the rest stays behind.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from PIL import ExifTags, Image

ORIENTATION: Final = 274
_RESOLUTION: Final = (282, 283, 296)  # x, y, unit
_EXIF_IFD: Final = 34665
_MAKER_NOTE: Final = 37500

# Descriptive tags of the first directory. Everything else there describes the layout of a TIFF
# file, repeats what `Picture` holds (ICC, DPI) or may say where the picture was taken.
_KEPT: Final = frozenset(
    {270, 271, 272, 305, 306, 315, 316, 18246, 33432, _EXIF_IFD, *range(40091, 40096)}
)
_PLACE: Final = re.compile(rb"gps|location|latitude|longitude|city|country|province|geo", re.I)


def cleaned_exif(
    exif: Image.Exif, *, orientation: int = 1, dpi: tuple[float, float] | None = None
) -> bytes | None:
    r"""Return EXIF bytes (`Exif\0\0` first) without position, maker notes and thumbnail.

    Args:
        exif: what Pillow read.
        orientation: written when it is not 1.
        dpi: written as resolution tags, for formats with no other place for it.

    Returns:
        None when nothing is left to say, or when the block is too damaged to be copied.
    """
    try:
        kept = Image.Exif()
        for tag in sorted(_KEPT & set(exif) - {_EXIF_IFD}):
            kept[tag] = exif[tag]
        camera = {t: v for t, v in exif.get_ifd(_EXIF_IFD).items() if t != _MAKER_NOTE}
        if camera:
            kept[_EXIF_IFD] = camera
        if orientation != 1:
            kept[ORIENTATION] = orientation
        if dpi is not None:
            kept[_RESOLUTION[0]], kept[_RESOLUTION[1]] = dpi
            kept[_RESOLUTION[2]] = 2  # inches
        return kept.tobytes() if len(kept) else None
    except Exception:  # any type of failure: EXIF is hostile input, and never worth a picture
        return None


def orientation_of(exif: Image.Exif) -> int:
    """Return EXIF orientation 1..8; 1 when it says nothing sensible."""
    value = exif.get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_dpi(exif: Image.Exif) -> tuple[float, float] | None:
    """Return the dots per inch that EXIF's resolution tags give, or None."""
    x, y, unit = (exif.get(tag, 0) for tag in _RESOLUTION)
    scale = {2: 1.0, 3: 2.54}.get(unit) if isinstance(unit, int) else None
    try:
        return None if scale is None else (float(x) * scale, float(y) * scale)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def read_exif(data: bytes | None) -> Image.Exif:
    """Return Pillow's view of EXIF bytes; empty when they are None or damaged."""
    exif = Image.Exif()
    if data:
        try:
            exif.load(data)
            exif.get_ifd(_EXIF_IFD)
        except Exception:
            return Image.Exif()
    return exif


def _clean_block(data: bytes) -> bytes | None:
    """Clean the EXIF block of a copied file; the very same bytes when there is nothing to hide."""
    exif = read_exif(data)
    secret = ExifTags.IFD.GPSInfo in exif or _MAKER_NOTE in exif.get_ifd(_EXIF_IFD)
    if len(exif) and not secret and not _PLACE.search(data):
        return data
    return cleaned_exif(exif, orientation=orientation_of(exif))


def without_position(data: bytes, file_format: str) -> bytes | None:
    """Return the bytes of a picture file with every trace of a position taken out.

    The coded pixels are untouched. A file that says nothing about its place comes back as it is.

    Returns:
        None where that cannot be done without coding the picture anew (a TIFF that names a place,
        a container whose structure is damaged).
    """
    clean = {"JPEG": _clean_jpeg, "PNG": _clean_png, "WEBP": _clean_webp, "TIFF": _clean_tiff}
    try:
        return clean[file_format](data)
    except (struct.error, IndexError, ValueError):
        return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield (marker, payload, offset after it) for each segment, over coded data, to the end.

    Raises:
        ValueError, IndexError, struct.error: the file is cut short.
    """
    at = 2
    while True:
        at = data.index(0xFF, at)
        marker = data[at + 1]
        if marker == 0xD9:
            return
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2  # stuffing, fill or restart: no length follows
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, data[at + 4 : at + 2 + length], at + 2 + length
        at += 2 + max(length, 2)


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    """Return one JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def kept_jpeg_segment(marker: int, payload: bytes) -> bytes | None:
    """Return the payload of a segment before the scan as it may travel on, or None to drop it."""
    if marker == 0xE1 and payload.startswith(b"Exif\0\0"):
        return _clean_block(payload)
    if marker == 0xE1:
        plain_xmp = payload.startswith(b"http://ns.adobe.com/xap/1.0/\0")
        return payload if plain_xmp and not _PLACE.search(payload) else None
    if marker == 0xE2:  # the others are multi-picture indices, whose pictures are not copied
        return payload if payload.startswith(b"ICC_PROFILE\0") else None
    if 0xE3 <= marker <= 0xEF and not (marker == 0xEE and payload.startswith(b"Adobe")):
        return None
    return payload


def _clean_jpeg(data: bytes) -> bytes:
    out = [b"\xff\xd8"]
    scan = end = 0
    for marker, payload, after in jpeg_segments(data):
        kept = None if scan else kept_jpeg_segment(marker, payload)
        if kept is not None:
            out.append(jpeg_segment(marker, kept))
        end = after
        if marker == 0xDA and not scan:
            scan = after
    # What stands behind the picture's own end (a second picture, a maker's film) has its own
    # metadata, and is left out.
    return b"".join([*out, data[scan : data.index(b"\xff\xd9", end) + 2]])


_PNG_KEPT: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP bKGD hIST pHYs sPLT tIME".split()
)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, payload) for each chunk of a PNG file."""
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise ValueError("a PNG chunk reaches past the end of the file")
        yield kind, data[at + 8 : at + 8 + length]
        if kind == b"IEND":
            return
        at += 12 + length


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """Return one PNG chunk with its length and check sum."""
    body = kind + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def _clean_png(data: bytes) -> bytes:
    out = [data[:8]]
    for kind, payload in png_chunks(data):
        kept: bytes | None = payload if kind in _PNG_KEPT else None
        if kind == b"eXIf":
            block = _clean_block(b"Exif\0\0" + payload)
            kept = block[6:] if block else None
        elif kind == b"tEXt" and not _PLACE.search(payload) and b"profile" not in payload[:80]:
            kept = payload  # compressed text and XMP are dropped unread
        if kept is not None:
            out.append(png_chunk(kind, kept))
    return b"".join(out)


_WEBP_KEPT: Final = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP")


def _clean_webp(data: bytes) -> bytes:
    chunks: list[tuple[bytes, bytes]] = []
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        payload = data[at + 8 : at + 8 + length]
        if len(payload) < length:
            raise ValueError("a WebP chunk reaches past the end of the file")
        at += 8 + length + (length & 1)
        if kind == b"EXIF":
            bare = payload if payload.startswith(b"Exif\0\0") else b"Exif\0\0" + payload
            block = _clean_block(bare)
            if block:
                chunks.append((kind, block[6:]))
        elif kind in _WEBP_KEPT or (kind == b"XMP " and not _PLACE.search(payload)):
            chunks.append((kind, payload))
    kinds = {kind for kind, _ in chunks}
    body = b"WEBP"
    for kind, payload in chunks:
        if kind == b"VP8X":
            flags = payload[0] & ~0x0C | 0x08 * (b"EXIF" in kinds) | 0x04 * (b"XMP " in kinds)
            payload = bytes([flags]) + payload[1:]
        body += struct.pack("<4sI", kind, len(payload)) + payload + b"\0" * (len(payload) & 1)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# GPS, XMP, IPTC, Photoshop and the five GeoTIFF tags.
_TIFF_PLACES: Final = (34853, 700, 33723, 34377, 33550, 33922, 34264, 34735, 34736, 34737)


def _clean_tiff(data: bytes) -> bytes | None:
    exif = read_exif(b"Exif\0\0" + data)
    places = any(tag in exif for tag in _TIFF_PLACES)
    return None if places or _MAKER_NOTE in exif.get_ifd(_EXIF_IFD) or not len(exif) else data
