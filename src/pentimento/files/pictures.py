"""Open a picture from bytes nobody vouches for, and save it with everything it came with.

Opening: caps are checked on the header, before a pixel is decoded; EXIF orientation is applied
once; 16-bit depth, alpha, ICC profile, resolution and EXIF (without any position) are kept.
Palette and 1-bit pictures become rgb and grey, as an edit needs colours.

Saving is atomic, and as exact as the format allows. PNG, TIFF and WebP are written without loss.
JPEG is written block by block: given the source file, only the 8×8 blocks that changed are coded
anew (`jpeg.graft`), so that the rest decodes to the very same pixels: with 4:2:0 chroma, all that
lie more than 16 pixels from the edit.
"""

import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from pentimento.errors import PentimentoError, PictureError
from pentimento.files.atomic import write_atomically
from pentimento.files.metadata import (
    cleaned_exif,
    exif_dpi,
    orientation_of,
    png_chunk,
    read_exif,
    without_position,
)
from pentimento.structures import ColourMode, Picture

Written = Literal["copied", "grafted", "encoded"]
"""How a file came about: the source's own bytes, its blocks with some coded anew, or all anew."""

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF")
_SUFFIXES: Final = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF",
    ".tiff": "TIFF",
}  # fmt: skip
_PILLOW_BOUND: Final = 178_000_000  # Pillow itself refuses more

_KINDS: Final = (
    (b"GIF8", "a GIF"), (b"BM", "a BMP picture"), (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF"), (b"PK\x03\x04", "a zip archive"), (b"<", "text (SVG, HTML or XML)"),
    (b"\xff\xd8", "a damaged JPEG"), (b"\x89PNG", "a damaged PNG"), (b"RIFF", "a damaged WebP"),
    (b"II*\0", "a TIFF of a rare kind"), (b"MM\0*", "a TIFF of a rare kind"),
    (b"\xff\x0a", "a JPEG XL picture"), (b"\0\0\0\x0cjP", "a JPEG 2000 picture"),
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What is refused before decoding.

    Attributes:
        file_bytes: largest file.
        pixels: most pixels, width times height; at most 178 million.
        frames: most frames or pages; of the ones allowed the first is opened.
    """

    file_bytes: int = 512 * 2**20
    pixels: int = 100_000_000
    frames: int = 1

    def __post_init__(self) -> None:
        """Refuse limits that cannot be kept."""
        if not 0 < self.pixels <= _PILLOW_BOUND or self.file_bytes < 1 or self.frames < 1:
            raise ValueError(f"limits are positive and pixels at most {_PILLOW_BOUND}: {self}")


DEFAULT_LIMITS: Final = Limits()


def open_picture(source: str | Path | bytes, *, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Open a JPEG, PNG, WebP or TIFF picture, recognised by its content.

    Args:
        source: a path, or the bytes of a file.
        limits: what is too big.

    Raises:
        PictureError: no such file, not a picture, damaged, too big, animated, or of a kind that
            cannot be edited; the message names the file, what was found and what to do.
    """
    name, data = read_bytes(source, limits)
    with explained(name, data):
        return _decode(name, data, limits)


def save_picture(
    picture: Picture,
    path: str | Path,
    *,
    source: str | Path | bytes | None = None,
    quality: int = 95,
) -> Written:
    """Save a picture in the format that the file's ending names.

    Args:
        picture: what to save.
        path: ends in .jpg, .jpeg, .png, .webp, .tif or .tiff.
        source: the file that `picture` was opened from (and perhaps edited). When the formats
            agree, an unchanged picture is saved as that file's bytes without its position, and a
            changed JPEG keeps the coded blocks of everything that did not change. Such a copy
            keeps the source's EXIF orientation, because its pixels lie as the camera wrote them.
        quality: of a JPEG that has to be coded completely.

    Returns:
        How the file came about.

    Raises:
        PictureError: the format cannot hold the picture, or the system refuses the file; what was
            at `path` before is unchanged.
    """
    path = Path(path)
    file_format = _format_of(path)
    _check_holds(picture, file_format, path)
    made = None if source is None else _from_source(picture, source, file_format)
    data, written = made or (_encoded(picture, file_format, quality), "encoded")
    write_atomically(path, data, PictureError)
    return written


def read_bytes(source: str | Path | bytes, limits: Limits) -> tuple[str, bytes]:
    """Return a file's name and bytes, or raise a PictureError that says why there are none."""
    if isinstance(source, bytes):
        name, size = "picture", len(source)
    else:
        path = Path(source)
        name = str(path)
        if path.is_dir():
            raise PictureError(f"{name} is a folder; name a picture file inside it")
        try:
            size = path.stat().st_size
        except OSError as error:
            raise PictureError(f"{name} cannot be opened: {error.strerror}") from error
    if size == 0:
        raise PictureError(f"{name} is empty (0 bytes); copy or download it again")
    if size > limits.file_bytes:
        raise PictureError(
            f"{name} has {size:,} bytes, more than the {limits.file_bytes:,} allowed; "
            "save it smaller or raise the limit"
        )
    if isinstance(source, bytes):
        return name, source
    try:
        return name, path.read_bytes()
    except OSError as error:
        raise PictureError(f"{name} cannot be opened: {error.strerror}") from error


@contextmanager
def explained(name: str, data: bytes) -> Iterator[None]:
    """Turn whatever a decoder throws at hostile bytes into a PictureError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about oddities; they are decided here
            yield
    except PentimentoError:  # it says already what is wrong
        raise
    except UnidentifiedImageError as error:
        kind = next((kind for magic, kind in _KINDS if data.startswith(magic)), "no known picture")
        if data[4:8] == b"ftyp":
            kind = "a HEIC, AVIF or video file"
        raise PictureError(
            f"{name} is {kind}; a JPEG, PNG, WebP or TIFF picture is needed: "
            "convert it, or export it again"
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} claims more than {_PILLOW_BOUND:,} pixels; refused") from error
    except Exception as error:  # a decoder on hostile bytes may raise anything
        raise PictureError(
            f"{name} is damaged or cut short ({error}); copy, download or export it again"
        ) from error


def _decode(name: str, data: bytes, limits: Limits) -> Picture:
    with Image.open(BytesIO(data), formats=_FORMATS) as image:
        # A JPEG with a second picture behind it (a gain map, a preview) is one picture.
        multi_picture = image.format == "MPO"
        file_format = "JPEG" if multi_picture else str(image.format)
        check_size(name, image, limits, 1 if multi_picture else getattr(image, "n_frames", 1))
        deep_colour = _is_deep_colour(name, data, image)
        exif = _exif_of(image)
        turn = 1 if file_format == "TIFF" else orientation_of(exif)  # Pillow itself turns TIFF
        image.load()
        icc = image.info.get("icc_profile") or None
        dpi = _dpi(image.info.get("dpi")) or _dpi(exif_dpi(exif))
        mode, pixels, alpha = _deep_planes(data, image) if deep_colour else _planes(name, image)
    return Picture(
        pixels=np.ascontiguousarray(turned(pixels, turn)),
        mode=mode,
        alpha=None if alpha is None else np.ascontiguousarray(turned(alpha, turn)),
        icc=icc,
        dpi=dpi,
        exif=cleaned_exif(exif),
        format=file_format,
        name=name,
    )


def _exif_of(image: Image.Image) -> Image.Exif:
    """Return the EXIF of a picture, empty when it is damaged."""
    try:
        return image.getexif()
    except Exception:  # hostile input raises anything, and EXIF is not worth a picture
        return Image.Exif()


def check_size(name: str, image: Image.Image, limits: Limits, frames: int) -> None:
    """Refuse, by its header alone, a file with too many pixels or frames."""
    width, height = image.size
    if width * height > limits.pixels:
        raise PictureError(
            f"{name} has {width} × {height} = {width * height:,} pixels, more than the "
            f"{limits.pixels:,} allowed; save it smaller or raise the limit"
        )
    if frames > limits.frames:
        raise PictureError(
            f"{name} has {frames} frames or pages, {limits.frames} allowed; "
            "save the one you want as its own file"
        )


def _dpi(dpi: Any) -> tuple[float, float] | None:
    """Return a resolution that can be written again, or None."""
    try:
        x, y = (float(v) for v in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    # PNG counts per metre: 300 dpi comes back as 299.9994.
    return (round(x, 2), round(y, 2)) if min(x, y) >= 0.01 and max(x, y) < 1e6 else None


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return stored pixels upright: a view with EXIF orientation 1..8 applied."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return array[rows, columns]


def _is_deep_colour(name: str, data: bytes, image: Image.Image) -> bool:
    """Return whether these are 16-bit samples that Pillow would cut down to 8."""
    if image.format == "PNG":
        return data[24] == 16 and image.mode != "I;16"
    if image.format != "TIFF":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]  # only a TIFF image has tags
    if max(tags.get(258, (1,))) <= 8 or image.mode in ("I;16", "I;16B", "I", "F"):
        return False
    if tags.get(262) == 2 and tags.get(338, (2,))[0] == 2 and tags.get(339, (1,))[0] == 1:
        return True
    raise PictureError(
        f"{name} is a 16-bit TIFF that is neither grey nor RGB with straight alpha; "
        "convert it to 16-bit RGB"
    )


def _planes(name: str, image: Image.Image) -> tuple[ColourMode, NDArray[Any], NDArray[Any] | None]:
    """Return (mode, pixels, alpha) of what Pillow has decoded faithfully."""
    if image.mode in ("I;16", "I;16B", "I;16L"):
        grey = np.asarray(image).astype(np.uint16)
        clear = image.info.get("transparency")
        alpha = None if clear is None else np.where(grey == clear, 0, 65535).astype(np.uint16)
        return "grey", grey[..., None], alpha
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise PictureError(
            f"{name} has {image.mode} pixels (32-bit or Lab); convert it to 16-bit RGB or grey"
        )
    if image.mode == "CMYK":
        return "cmyk", np.asarray(image), None
    see_through = image.has_transparency_data
    if image.mode in ("1", "L", "LA", "La"):
        image = image.convert("LA" if see_through else "L")
    else:
        image = image.convert("RGBA" if see_through else "RGB")
    array = np.atleast_3d(np.asarray(image))
    mode: ColourMode = "grey" if image.mode in ("L", "LA") else "rgb"
    return (mode, array[..., :-1], array[..., -1]) if see_through else (mode, array, None)


def _deep_planes(
    data: bytes, image: Image.Image
) -> tuple[ColourMode, NDArray[Any], NDArray[Any] | None]:
    """Return (mode, pixels, alpha) with 16-bit samples; Pillow has shown the file to be sound."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.shape[:2] != image.size[::-1]:
        raise ValueError("its 16-bit samples cannot be read")
    alpha = array[..., 3] if array.shape[2] == 4 else None
    grey_with_alpha = image.format == "PNG" and data[25] == 4
    return ("grey", array[..., :1], alpha) if grey_with_alpha else ("rgb", array[..., 2::-1], alpha)


def _format_of(path: Path) -> str:
    if path.suffix.lower() not in _SUFFIXES:
        raise PictureError(
            f"{path}: the ending {path.suffix or '(none)'!r} names no format that can be written; "
            f"use one of {', '.join(_SUFFIXES)}"
        )
    return _SUFFIXES[path.suffix.lower()]


def _holds(picture: Picture, file_format: str) -> bool:
    deep, alpha = picture.pixels.dtype == np.uint16, picture.alpha is not None
    match file_format:
        case "JPEG":
            return not deep and not alpha
        case "PNG":
            return picture.mode != "cmyk"
        case "WEBP":
            return picture.mode == "rgb" and not deep
        case _:
            return not (picture.mode == "cmyk" and (deep or alpha)) and not (
                picture.mode == "grey" and deep and alpha
            )


def _check_holds(picture: Picture, file_format: str, path: Path) -> None:
    if not _holds(picture, file_format):
        what = f"{picture.pixels.dtype.itemsize * 8}-bit {picture.mode}"
        what += " with alpha" if picture.alpha is not None else ""
        able = " or ".join(f for f in _FORMATS if _holds(picture, f)) or "no format"
        raise PictureError(f"{path}: {file_format} cannot hold a {what} picture; use {able}")
    if file_format == "JPEG" and max(picture.width, picture.height) > 65500:
        raise PictureError(f"{path}: a JPEG has at most 65500 pixels a side; use PNG or TIFF")
    if file_format == "WEBP" and max(picture.width, picture.height) > 16383:
        raise PictureError(f"{path}: a WebP has at most 16383 pixels a side; use PNG or TIFF")


def _from_source(
    picture: Picture, source: str | Path | bytes, file_format: str
) -> tuple[bytes, Written] | None:
    """Return the file made from the source's own bytes, or None where that cannot be done."""
    # It was opened under the caller's limits before; here nothing more is to be refused.
    limits = Limits(file_bytes=sys.maxsize, pixels=_PILLOW_BOUND)
    data = read_bytes(source, limits)[1]
    try:
        original = open_picture(data, limits=limits)
    except PictureError:  # several frames: the one that was opened is saved alone
        return None
    if original.format != file_format or original.pixels.shape != picture.pixels.shape:
        return None
    if same_content(original, picture):
        clean = without_position(data, file_format)
        sound = clean == data or (clean is not None and _opens_as(clean, picture, limits))
        return (clean, "copied") if clean is not None and sound else None
    if file_format != "JPEG" or original.icc != picture.icc:
        return None
    with explained(original.name, data), Image.open(BytesIO(data)) as image:
        turn = orientation_of(_exif_of(image))
    back = {6: 8, 8: 6}.get(turn, turn)
    before, after = turned(original.pixels, back), turned(picture.pixels, back)
    exif = cleaned_exif(read_exif(picture.exif), orientation=turn)
    # Its compiled coder takes a second to load, which only a changed JPEG is worth.
    from pentimento.files import jpeg

    grafted = jpeg.graft(data, before, after, exif)
    return None if grafted is None else (grafted, "grafted")


def _opens_as(data: bytes, picture: Picture, limits: Limits) -> bool:
    try:
        return same_content(open_picture(data, limits=limits), picture)
    except PictureError:
        return False


def same_content(one: Picture, other: Picture) -> bool:
    """Return whether two pictures have the same pixels, alpha, colour mode and profile."""
    return (
        one.mode == other.mode
        and one.icc == other.icc
        and one.pixels.dtype == other.pixels.dtype
        and np.array_equal(one.pixels, other.pixels)
        and _equal(one.alpha, other.alpha)
    )


def _equal(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _pillow(picture: Picture) -> Image.Image:
    planes = _interleaved(picture)
    if planes.shape[2] == 1:
        planes = planes[..., 0]
    return Image.fromarray(np.ascontiguousarray(planes), "CMYK" if picture.mode == "cmyk" else None)


def _extras(picture: Picture) -> dict[str, Any]:
    extras = {"icc_profile": picture.icc, "dpi": picture.dpi, "exif": picture.exif}
    return {key: value for key, value in extras.items() if value is not None}


def _encode_jpeg(picture: Picture, quality: int) -> bytes:
    out, extras = BytesIO(), _extras(picture)
    if len(extras.get("exif", b"")) > 65533:
        del extras["exif"]  # more than a JPEG segment holds
    _pillow(picture).save(
        out, "JPEG", quality=quality, subsampling="4:4:4", optimize=True, **extras
    )
    return out.getvalue()


def _encode_webp(picture: Picture) -> bytes:
    out = BytesIO()
    exif = cleaned_exif(read_exif(picture.exif), dpi=picture.dpi)
    _pillow(picture).save(
        out, "WEBP", lossless=True, exact=True, icc_profile=picture.icc or b"", exif=exif or b""
    )
    return out.getvalue()


def _encode_png(picture: Picture) -> bytes:
    if picture.pixels.dtype == np.uint8:
        out = BytesIO()
        # Level 3: four times as fast as the default, a tenth larger.
        _pillow(picture).save(out, "PNG", compress_level=3, **_extras(picture))
        return out.getvalue()
    samples = np.ascontiguousarray(_interleaved(picture).astype(">u2")).view(np.uint8)
    steps = samples.copy()
    steps[:, 1:] -= samples[:, :-1]  # filter 1: each byte's difference to the pixel on the left
    filters = np.ones((picture.height, 1), np.uint8)
    rows = np.hstack([filters, steps.reshape(picture.height, -1)])
    colour = {"grey": 0, "rgb": 2}[picture.mode] + 4 * (picture.alpha is not None)
    chunks = [
        png_chunk(
            b"IHDR",
            struct.pack(">IIBBBBB", picture.width, picture.height, 16, colour, 0, 0, 0),
        )
    ]
    if picture.icc is not None:
        chunks.append(png_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc)))
    if picture.dpi is not None:
        per_metre = (int(d / 0.0254 + 0.5) for d in picture.dpi)
        chunks.append(png_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if picture.exif is not None:
        chunks.append(png_chunk(b"eXIf", picture.exif.removeprefix(b"Exif\0\0")))
    chunks += [png_chunk(b"IDAT", zlib.compress(rows.tobytes(), 3)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _interleaved(picture: Picture) -> NDArray[Any]:
    """Return (H, W, C) samples with alpha as the last channel."""
    if picture.alpha is None:
        return picture.pixels
    return np.dstack([picture.pixels, picture.alpha])


def _encode_tiff(picture: Picture) -> bytes:
    """Write one deflated strip: Pillow writes neither 16-bit RGB nor EXIF beside compression."""
    samples = _interleaved(picture)
    channels = samples.shape[2]
    steps = samples.copy()
    steps[:, 1:] -= samples[:, :-1]  # predictor 2: the difference to the pixel on the left
    strip = zlib.compress(steps.astype(samples.dtype.newbyteorder(">")).tobytes(), 6)
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"MM")
    tags[256], tags[257] = picture.width, picture.height
    tags[258], tags[277] = (8 * samples.dtype.itemsize,) * channels, channels
    tags[259], tags[317] = 8, 2  # deflate after the predictor
    tags[262] = {"grey": 1, "rgb": 2, "cmyk": 5}[picture.mode]
    tags[273], tags[278], tags[279] = 0, picture.height, len(strip)  # the strip follows the tags
    if picture.alpha is not None:
        tags[338] = 2  # straight alpha
    if picture.dpi is not None:
        tags[282], tags[283], tags[296] = *picture.dpi, 2
    if picture.icc is not None:
        tags[34675] = picture.icc
    exif = read_exif(picture.exif)
    for tag, value in exif.items():
        tags[tag] = exif.get_ifd(tag) if tag == ExifTags.IFD.Exif else value
    return b"MM\0*\0\0\0\x08" + tags.tobytes(8) + strip


_LOSSLESS: Final = {
    "PNG": _encode_png,
    "WEBP": _encode_webp,
    "TIFF": _encode_tiff,
}


def _encoded(picture: Picture, file_format: str, quality: int) -> bytes:
    if file_format == "JPEG":
        return _encode_jpeg(picture, quality)
    return _LOSSLESS[file_format](picture)
