"""Change some blocks of a JPEG file and keep every other coefficient.

A JPEG that is decoded, edited and encoded again changes everywhere. `graft` works on the quantised
DCT coefficients instead: it takes the source's, adds the transform of the *change* and writes them
back with the source's tables and subsampling. Where nothing changed the sum is the source's own
coefficient, so those blocks decode to the very same pixels. The change reaches one pixel beyond
the blocks it touches where chroma is subsampled, as decoders interpolate chroma.

Entropy coding after ITU-T T.81: Huffman, sequential (read and written) and progressive (read).
`Differs:` from a general codec: arithmetic coding, 12-bit samples, lossless and hierarchical modes
are left to the caller, who encodes the picture anew.

Alphabet: N blocks of 64 coefficients in zigzag order; h, v sampling factors of a component.
"""

import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pentimento.files.huffman import (
    SAMPLING_H,
    SAMPLING_V,
    TABLES,
    UNITS_HIGH,
    UNITS_WIDE,
    canonical,
    code_lengths,
    decode_scan,
    encode_scan,
    read_tables,
)
from pentimento.files.metadata import jpeg_segment, jpeg_segments, kept_jpeg_segment

_DIAGONALS: Final = sorted(
    ((row, column) for row in range(8) for column in range(8)),
    key=lambda rc: (rc[0] + rc[1], rc[0] if (rc[0] + rc[1]) % 2 else rc[1]),
)
_ZIGZAG: Final = np.array([8 * row + column for row, column in _DIAGONALS])

_HALF: Final = np.pi / 16 * (2 * np.arange(8) + 1)
_DCT: Final = (
    np.cos(np.arange(8)[:, None] * _HALF) * np.where(np.arange(8), 0.5, 0.125**0.5)[:, None]
)

_YCC: Final = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)  # JFIF

_PROCESSES: Final = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive Huffman
# Second frames and all other processes, tables between scans, a height that comes later.
_REFUSED: Final = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xD0), 0xDB, 0xDC)


class _UnsupportedError(Exception):
    """A JPEG this module does not read; never leaves it."""


@dataclass(frozen=True)
class _Component:
    """One plane: its sampling factors and table, and where its blocks lie among all blocks."""

    name: int
    h: int
    v: int
    table: int
    first: int
    stride: int
    """Blocks in a row, padded to whole MCUs."""
    wide: int
    high: int
    """Blocks that carry pixels."""


@dataclass(frozen=True)
class _Coded:
    """A JPEG down to its quantised coefficients."""

    width: int
    height: int
    process: int
    components: tuple[_Component, ...]
    tables: dict[int, NDArray[np.uint16]]
    blocks: NDArray[np.int16]
    adobe: int | None
    """The colour transform of the Adobe marker, or None without one."""

    @property
    def unit(self) -> tuple[int, int]:
        """Return width and height of an MCU in pixels."""
        return 8 * max(c.h for c in self.components), 8 * max(c.v for c in self.components)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


def graft(
    source: bytes, before: NDArray[Any], after: NDArray[Any], exif: bytes | None
) -> bytes | None:
    """Return the source file with the change from `before` to `after` coded into it.

    Args:
        source: bytes of a JPEG file.
        before: (H, W, C) uint8, its decoded pixels as stored, orientation not applied.
        after: the same after the edit.
        exif: takes the place of the source's EXIF block; None leaves it out.

    Returns:
        None when the source uses a kind of JPEG that is not handled here, or when the result does
        not decode to the same pixels outside the change: then the picture has to be coded anew.
    """
    try:
        coded = _decode(source)
        touched = _add_change(coded, before, after)
        result = _encode(source, coded, exif)
        # Whatever was odd about the source, what counts is how others decode the result.
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(result)) as image:
            differs = np.asarray(image).reshape(before.shape) != before
    except (_UnsupportedError, struct.error, IndexError, ValueError, KeyError, OSError):
        return None
    differs[_reach(touched, coded)] = False
    return None if differs.any() else result


def _reach(touched: NDArray[np.bool_], coded: _Coded) -> NDArray[np.bool_]:
    """Return (H, W) bool: pixels of the touched MCUs and the ring that chroma can bleed into."""
    wide, high = coded.unit
    pixels = touched.repeat(high, 0).repeat(wide, 1)[: coded.height, : coded.width]
    reach = pixels.copy()
    reach[1:] |= pixels[:-1]
    reach[:-1] |= pixels[1:]
    across = reach.copy()
    reach[:, 1:] |= across[:, :-1]
    reach[:, :-1] |= across[:, 1:]
    return reach


def _decode(data: bytes) -> _Coded:
    """Read headers and every scan."""
    tables: dict[int, NDArray[np.uint16]] = {}
    luts = np.zeros((2 * TABLES, 65536), np.int32)
    coded: _Coded | None = None
    adobe: int | None = None
    interval = scans = 0
    raw = np.frombuffer(data, np.uint8)
    for marker, payload, at in jpeg_segments(data):
        if marker == 0xDB and not scans:
            tables |= _quantisation(payload)
        elif marker == 0xC4:
            read_tables(payload, luts)
        elif marker == 0xDD:
            (interval,) = struct.unpack(">H", payload)
        elif marker == 0xEE and payload.startswith(b"Adobe"):
            adobe = payload[11]
        elif marker == 0xDA and coded is not None:
            scans += 1
            layout, spectrum = _scan(payload, coded)
            if not decode_scan(raw, at, coded.blocks, layout, luts, spectrum, interval):
                raise _UnsupportedError  # damaged: the decoder that showed it had to guess
        elif marker in _PROCESSES and coded is None:
            coded = _frame(marker, payload, tables, adobe)
        elif marker in _REFUSED:
            raise _UnsupportedError
    if coded is None or not scans:
        raise _UnsupportedError
    return coded


def _frame(
    process: int, payload: bytes, tables: dict[int, NDArray[np.uint16]], adobe: int | None
) -> _Coded:
    bits, height, width, count = struct.unpack_from(">BHHB", payload)
    rows = [struct.unpack_from("BBB", payload, 6 + 3 * i) for i in range(count)]
    if bits != 8 or not height or not width or count not in (1, 3, 4):
        raise _UnsupportedError
    factors = [(f >> 4, f & 15) for _, f, _ in rows]
    most_h, most_v = max(h for h, _ in factors), max(v for _, v in factors)
    if any(not h or not v or most_h % h or most_v % v for h, v in factors):
        raise _UnsupportedError
    if sum(h * v for h, v in factors) > 10:
        raise _UnsupportedError  # more blocks than an interleaved scan may have
    across, down = _ceil(width, 8 * most_h), _ceil(height, 8 * most_v)
    components, first = [], 0
    for (name, _, table), (h, v) in zip(rows, factors, strict=True):
        wide = _ceil(_ceil(width * h, most_h), 8)
        high = _ceil(_ceil(height * v, most_v), 8)
        components.append(_Component(name, h, v, table, first, across * h, wide, high))
        first += across * h * down * v
    blocks = np.zeros((first, 64), np.int16)
    return _Coded(width, height, process, tuple(components), tables, blocks, adobe)


def _quantisation(payload: bytes) -> dict[int, NDArray[np.uint16]]:
    tables, at = {}, 0
    while at < len(payload):
        wide, name = payload[at] >> 4, payload[at] & 15
        kind = ">u2" if wide else "u1"
        tables[name] = np.frombuffer(payload, kind, 64, at + 1).astype(np.uint16)
        if not tables[name].all():
            raise _UnsupportedError  # division by zero
        at += 1 + 64 * (1 + wide)
    return tables


def _scan(payload: bytes, coded: _Coded) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the layout of a scan's components and (Ss, Se, Ah, Al, progressive)."""
    names = {c.name: c for c in coded.components}
    chosen = [
        (names[payload[1 + 2 * i]], payload[2 + 2 * i] >> 4, payload[2 + 2 * i] & 15)
        for i in range(payload[0])
    ]
    start, end, approximation = payload[1 + 2 * len(chosen) : 4 + 2 * len(chosen)]
    if start > end or end > 63 or any(dc >= TABLES or ac >= TABLES for _, dc, ac in chosen):
        raise _UnsupportedError
    spectrum = (start, end, approximation >> 4, approximation & 15, coded.process == 0xC2)
    return _layout(chosen), np.array(spectrum, np.int64)


def _layout(chosen: list[tuple[_Component, int, int]]) -> NDArray[np.int64]:
    """Return one row per component; a component alone is coded block by block, unpadded."""
    rows = [
        (c.first, c.stride, c.h, c.v, c.stride // c.h, 0, dc, TABLES + ac) for c, dc, ac in chosen
    ]
    layout = np.array(rows, np.int64)
    if len(chosen) == 1:
        alone = chosen[0][0]
        layout[0, [SAMPLING_H, SAMPLING_V, UNITS_WIDE, UNITS_HIGH]] = 1, 1, alone.wide, alone.high
    else:
        layout[:, UNITS_HIGH] = [_ceil(c.high, c.v) for c, _, _ in chosen]
    return layout


def _add_change(coded: _Coded, before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Add the change to the coefficients, one row of MCUs at a time; return the touched MCUs."""
    if before.shape[:2] != (coded.height, coded.width):
        raise _UnsupportedError
    wide, high = coded.unit
    across, down = _ceil(coded.width, wide), _ceil(coded.height, high)
    touched = np.zeros((down, across), bool)
    for row in range(down):
        rows = slice(row * high, (row + 1) * high)
        changed = np.flatnonzero((before[rows] != after[rows]).any(axis=(0, 2)))
        if not changed.size:
            continue
        left, right = int(changed[0]) // wide, int(changed[-1]) // wide + 1
        box = rows, slice(left * wide, right * wide)
        change = after[box].astype(np.float32) - before[box]
        short = high - change.shape[0], (right - left) * wide - change.shape[1]
        change = np.pad(change, ((0, short[0]), (0, short[1]), (0, 0)), mode="edge")
        units = (change != 0).reshape(high, right - left, -1).any(axis=(0, 2))
        touched[row, left:right] = units
        planes = _planes(change, coded)
        for plane, component in zip(planes, coded.components, strict=True):
            _add_plane(coded, component, plane, row, left)
    return touched


def _planes(change: NDArray[np.float32], coded: _Coded) -> NDArray[np.float32]:
    """Return (C, h, w) change of the file's own planes from that of the decoded pixels."""
    planes = np.moveaxis(change, 2, 0)
    count = len(coded.components)
    if count == 4 and coded.adobe is not None:
        # Adobe stores ink inverted; Pillow turns it round, and libjpeg turns YCC of YCCK once more.
        planes = -planes
        if coded.adobe == 2:
            planes[:3] *= -1
    names = bytes(c.name for c in coded.components)
    plain = coded.adobe == 0 or (coded.adobe is None and names in (b"RGB", b"rgb"))
    if (count == 3 and not plain) or (count == 4 and coded.adobe == 2):
        planes = planes.copy()
        planes[:3] = np.tensordot(_YCC, planes[:3], axes=1)
    return planes


def _add_plane(
    coded: _Coded, component: _Component, plane: NDArray[np.float32], row: int, left: int
) -> None:
    """Subsample one plane's change, transform it and add it to the blocks of one MCU row."""
    wide, high = coded.unit
    by_x, by_y = wide // (8 * component.h), high // (8 * component.v)
    rows, columns = plane.shape[0] // by_y, plane.shape[1] // by_x
    small = plane.reshape(rows, by_y, columns, by_x).mean(axis=(1, 3))
    blocks = small.reshape(rows // 8, 8, columns // 8, 8).swapaxes(1, 2)
    moved = (_DCT @ blocks @ _DCT.T).reshape(rows // 8, columns // 8, 64)[..., _ZIGZAG]
    moved /= coded.tables[component.table]
    grid = coded.blocks[component.first :][: component.stride * _block_rows(coded, component)]
    grid = grid.reshape(-1, component.stride, 64)
    top, start = row * component.v, left * component.h
    place = grid[top : top + rows // 8, start : start + columns // 8]
    place[...] = np.clip(np.rint(place + moved), -1024, 1023)


def _block_rows(coded: _Coded, component: _Component) -> int:
    return _ceil(coded.height, coded.unit[1]) * component.v


def _encode(source: bytes, coded: _Coded, exif: bytes | None) -> bytes:
    """Write the coefficients as one sequential scan, with the source's segments around it."""
    out = [b"\xff\xd8"]
    for marker, payload, _ in jpeg_segments(source):
        old_view = payload.startswith((b"Exif\0\0", b"JFXX"))  # a thumbnail of before the edit
        kept = None if old_view else kept_jpeg_segment(marker, payload)
        if kept is not None and (marker >= 0xE0 or marker == 0xDB):
            out.append(jpeg_segment(marker, kept))
    if exif is not None:
        out.insert(2 if out[1:] and out[1][1] == 0xE0 else 1, jpeg_segment(0xE1, exif))
    # Table 0 for luma (and black), table 1 for chroma.
    chosen = [(c, i, i) for c, i in zip(coded.components, (0, 1, 1, 0), strict=False)]
    layout = _layout(chosen)
    codes = np.zeros((2 * TABLES, 256), np.int64)
    counts = np.zeros((2 * TABLES, 256), np.int64)
    size = encode_scan(coded.blocks, layout, codes, counts, np.zeros(0, np.uint8))
    process = 0xC0 if max(t.max() for t in coded.tables.values()) < 256 else 0xC1
    frame = struct.pack(">BHHB", 8, coded.height, coded.width, len(chosen))
    scan = bytes([len(chosen)])
    for c, dc, ac in chosen:
        frame += bytes([c.name, c.h << 4 | c.v, c.table])
        scan += bytes([c.name, dc << 4 | ac])
    out.append(jpeg_segment(process, frame))
    for slot in np.flatnonzero(counts.any(axis=1)):
        lengths = code_lengths(counts[slot])
        codes[slot], payload = canonical(lengths)
        out.append(jpeg_segment(0xC4, bytes([(slot // TABLES) << 4 | slot % TABLES]) + payload))
        size += int((counts[slot] * (codes[slot] >> 16)).sum())
    buffer = np.empty(size // 4 + 16, np.uint8)  # twice the bytes: each 0xFF is stuffed
    used = encode_scan(coded.blocks, layout, codes, counts, buffer)
    out += [jpeg_segment(0xDA, scan + b"\x00\x3f\x00"), buffer[:used].tobytes(), b"\xff\xd9"]
    return b"".join(out)
