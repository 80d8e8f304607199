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

import heapq
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

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

_SUPPORTED: Final = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive Huffman
_TABLES: Final = 4  # of each class

# Columns of a scan's layout, one row per component.
_FIRST, _STRIDE, _H, _V, _WIDE, _HIGH, _DC, _AC = range(8)


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
    except (_UnsupportedError, struct.error, IndexError, ValueError, KeyError):
        return None
    with Image.open(BytesIO(result)) as image:
        decoded = np.asarray(image).reshape(before.shape)
    reach = _reach(touched, coded)
    return result if np.array_equal(decoded[~reach], before[~reach]) else None


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
    luts = np.zeros((2 * _TABLES, 65536), np.int32)
    coded: _Coded | None = None
    adobe: int | None = None
    interval, at, scans = 0, 2, 0
    raw = np.frombuffer(data, np.uint8)
    while True:
        at = data.index(0xFF, at)
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        payload = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDB:
            if scans:
                raise _UnsupportedError  # tables that change between scans
            tables |= _quantisation(payload)
        elif marker == 0xC4:
            _read_huffman(payload, luts)
        elif marker == 0xDD:
            (interval,) = struct.unpack(">H", payload)
        elif marker == 0xEE and payload.startswith(b"Adobe"):
            adobe = payload[11]
        elif marker == 0xDA and coded is not None:
            scans += 1
            layout, spectrum = _scan(payload, coded)
            at = _decode_scan(raw, at, coded.blocks, layout, luts, spectrum, interval)
            if at < 0:
                raise _UnsupportedError  # damaged: the decoder that showed it had to guess
        elif marker in _SUPPORTED and coded is None:
            coded = _frame(marker, payload, tables, adobe)
        elif marker == 0xDC or (0xC0 <= marker <= 0xCF and marker != 0xC8):
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
    across, down = -(-width // (8 * most_h)), -(-height // (8 * most_v))
    components, first = [], 0
    for (name, _, table), (h, v) in zip(rows, factors, strict=True):
        wide = -(-(-(-width * h // most_h)) // 8)
        high = -(-(-(-height * v // most_v)) // 8)
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
        at += 1 + 64 * (1 + wide)
    return tables


def _read_huffman(payload: bytes, luts: NDArray[np.int32]) -> None:
    """Fill lookup tables: 16 bits ahead → code length << 8 | symbol, 0 where no code begins."""
    at = 0
    while at < len(payload):
        slot = (payload[at] >> 4) * _TABLES + (payload[at] & 15)
        counts = payload[at + 1 : at + 17]
        symbols = payload[at + 17 : at + 17 + sum(counts)]
        luts[slot] = 0
        code = index = 0
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                start = code << (16 - length)
                luts[slot, start : start + (1 << (16 - length))] = length << 8 | symbols[index]
                code, index = code + 1, index + 1
            code <<= 1
        at += 17 + len(symbols)


def _scan(payload: bytes, coded: _Coded) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the layout of a scan's components and (Ss, Se, Ah, Al, progressive)."""
    names = {c.name: c for c in coded.components}
    chosen = [
        (names[payload[1 + 2 * i]], payload[2 + 2 * i] >> 4, payload[2 + 2 * i] & 15)
        for i in range(payload[0])
    ]
    start, end, approximation = payload[1 + 2 * len(chosen) : 4 + 2 * len(chosen)]
    if start > end or end > 63 or any(dc >= _TABLES or ac >= _TABLES for _, dc, ac in chosen):
        raise _UnsupportedError
    spectrum = (start, end, approximation >> 4, approximation & 15, coded.process == 0xC2)
    return _layout(chosen), np.array(spectrum, np.int64)


def _layout(chosen: list[tuple[_Component, int, int]]) -> NDArray[np.int64]:
    """Return one row per component; a component alone is coded block by block, unpadded."""
    rows = [
        (c.first, c.stride, c.h, c.v, -(-c.stride // c.h), 0, dc, _TABLES + ac)
        for c, dc, ac in chosen
    ]
    layout = np.array(rows, np.int64)
    if len(chosen) == 1:
        alone = chosen[0][0]
        layout[0, [_H, _V, _WIDE, _HIGH]] = 1, 1, alone.wide, alone.high
    else:
        layout[:, _HIGH] = [-(-c.high // c.v) for c, _, _ in chosen]
    return layout


def _add_change(coded: _Coded, before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Add the change to the coefficients, one row of MCUs at a time; return the touched MCUs."""
    wide, high = coded.unit
    across, down = -(-coded.width // wide), -(-coded.height // high)
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
    place[...] = np.clip(np.rint(place + moved), -1023, 1023)


def _block_rows(coded: _Coded, component: _Component) -> int:
    return -(-coded.height // coded.unit[1]) * component.v


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
    codes = np.zeros((2 * _TABLES, 256), np.int64)
    counts = np.zeros((2 * _TABLES, 256), np.int64)
    size = _encode_scan(coded.blocks, layout, codes, counts, np.zeros(0, np.uint8))
    process = 0xC0 if max(t.max() for t in coded.tables.values()) < 256 else 0xC1
    frame = struct.pack(">BHHB", 8, coded.height, coded.width, len(chosen))
    scan = bytes([len(chosen)])
    for c, dc, ac in chosen:
        frame += bytes([c.name, c.h << 4 | c.v, c.table])
        scan += bytes([c.name, dc << 4 | ac])
    out.append(jpeg_segment(process, frame))
    for slot in np.flatnonzero(counts.any(axis=1)):
        lengths = _code_lengths(counts[slot])
        codes[slot], payload = _canonical(lengths)
        out.append(jpeg_segment(0xC4, bytes([(slot // _TABLES) << 4 | slot % _TABLES]) + payload))
        size += int((counts[slot] * (codes[slot] >> 16)).sum())
    buffer = np.empty(size // 4 + 16, np.uint8)  # twice the bytes: each 0xFF is stuffed
    used = _encode_scan(coded.blocks, layout, codes, counts, buffer)
    out += [jpeg_segment(0xDA, scan + b"\x00\x3f\x00"), buffer[:used].tobytes(), b"\xff\xd9"]
    return b"".join(out)


def _code_lengths(counts: NDArray[np.int64]) -> list[list[int]]:
    """Return the symbols of each code length 1..16 (T.81, K.2: no code is all ones)."""
    # A symbol that never occurs, and so gets the longest code, keeps all ones free.
    heap = [(int(n), -s, [s]) for s, n in enumerate(counts) if n] + [(0, -256, [256])]
    depth = dict.fromkeys((s for _, _, leaf in heap for s in leaf), 0)
    heapq.heapify(heap)
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in a[2] + b[2]:
            depth[symbol] += 1
        heapq.heappush(heap, (a[0] + b[0], min(a[1], b[1]), a[2] + b[2]))
    bits = np.bincount(list(depth.values()), minlength=64)
    for length in range(len(bits) - 1, 16, -1):
        while bits[length]:  # two leaves move up beside a shorter one that splits
            shorter = int(np.flatnonzero(bits[: length - 1])[-1])
            bits[length] -= 2
            bits[length - 1] += 1
            bits[shorter] -= 1
            bits[shorter + 1] += 2
    bits[int(np.flatnonzero(bits)[-1])] -= 1  # the one that never occurs
    ordered = sorted((d, s) for s, d in depth.items() if s != 256)
    symbols = iter([s for _, s in ordered])
    return [[next(symbols) for _ in range(bits[length])] for length in range(1, 17)]


def _canonical(lengths: list[list[int]]) -> tuple[NDArray[np.int64], bytes]:
    """Return symbol → length << 16 | code, and the table as a segment stores it."""
    codes = np.zeros(256, np.int64)
    code = 0
    for length, symbols in enumerate(lengths, 1):
        for symbol in symbols:
            codes[symbol] = length << 16 | code
            code += 1
        code <<= 1
    return codes, bytes(map(len, lengths)) + bytes(s for group in lengths for s in group)


# ---- entropy coding, compiled ------------------------------------------------------------------
# A reader's state: position, bit buffer, bits in it, end-of-band run left.


@njit(cache=True, inline="always")
def _bits(data, state, count):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Return the next `count` bits (0..16); zeros past the end of the scan."""
    while state[2] < count:
        byte = 0
        at = state[0]
        if at + 1 < data.size and (data[at] != 0xFF or data[at + 1] == 0):
            byte = data[at]
            state[0] = at + (2 if byte == 0xFF else 1)
        state[1] = (state[1] << 8 | byte) & 0xFFFFFFFF
        state[2] += 8
    state[2] -= count
    return (state[1] >> state[2]) & ((1 << count) - 1)


@njit(cache=True, inline="always")
def _symbol(data, state, lut):  # type: ignore[no-untyped-def]
    """Return the next Huffman symbol, or -1 where no code begins."""
    entry = lut[_bits(data, state, 16)]
    state[2] += 16 - (entry >> 8)
    return entry & 0xFF if entry else -1


@njit(cache=True, inline="always")
def _signed(data, state, size):  # type: ignore[no-untyped-def]
    """Return a value of `size` bits in JPEG's sign convention (T.81, F.2.2.1 EXTEND)."""
    if size == 0:
        return 0
    value = _bits(data, state, size)
    return value if value >> (size - 1) else value - (1 << size) + 1


@njit(cache=True)
def _sequential_ac(data, state, lut, block, start, end, low):  # type: ignore[no-untyped-def]
    """Decode AC coefficients of a sequential scan, or of the first pass of a progressive one."""
    if state[3]:
        state[3] -= 1
        return True
    k = start
    while k <= end:
        symbol = _symbol(data, state, lut)
        run, size = symbol >> 4, symbol & 15
        if symbol < 0:
            return False
        if size == 0:
            if run < 15:
                state[3] = (1 << run) + _bits(data, state, run) - 1
                return True
            k += 16
            continue
        k += run
        if k > end:
            return False
        block[k] = _signed(data, state, size) << low
        k += 1
    return k <= end + 1 or True


@njit(cache=True)
def _refined_ac(data, state, lut, block, start, end, low):  # type: ignore[no-untyped-def]
    """Decode one more bit of AC coefficients (T.81, G.1.2.3)."""
    k = start
    while k <= end:
        run, value = 64, 0
        if not state[3]:
            symbol = _symbol(data, state, lut)
            if symbol < 0 or symbol & 15 > 1:
                return False
            run = symbol >> 4
            if symbol & 15:
                value = (1 << low) if _bits(data, state, 1) else -(1 << low)
            elif run < 15:
                state[3] = (1 << run) + _bits(data, state, run)
                run = 64
        # Coefficients that are not zero yet get their bit; `run` zeros are passed over.
        while k <= end:
            old = block[k]
            if old:
                if _bits(data, state, 1):
                    block[k] = old + (1 << low) if old > 0 else old - (1 << low)
            elif run == 0:
                block[k] = value
                k += 1
                break
            else:
                run -= 1
            k += 1
    if state[3]:
        state[3] -= 1
    return True


@njit(cache=True)
def _decode_block(data, state, luts, part, block, previous, spectrum):  # type: ignore[no-untyped-def]
    """Decode what one scan says about one block."""
    start, end, high, low, progressive = spectrum
    if start == 0:
        if high:
            block[0] |= _bits(data, state, 1) << low
        else:
            size = _symbol(data, state, luts[part[_DC]])
            if size < 0 or size > 15:
                return False
            previous[0] += _signed(data, state, size)
            block[0] = previous[0] << low
    if end == 0:
        return True
    first = max(start, 1)
    if progressive and high:
        return _refined_ac(data, state, luts[part[_AC]], block, first, end, low)
    return _sequential_ac(data, state, luts[part[_AC]], block, first, end, low)


@njit(cache=True)
def _decode_scan(data, at, blocks, layout, luts, spectrum, interval):  # type: ignore[no-untyped-def]
    """Decode one scan into `blocks`; return the position after it, or -1 when it is damaged."""
    state = np.array([at, 0, 0, 0])
    previous = np.zeros((len(layout), 1), np.int64)
    wide, high = layout[0, _WIDE], layout[0, _HIGH]
    for unit in range(wide * high):
        if interval and unit and unit % interval == 0:
            at = state[0]
            if at + 1 >= data.size or data[at] != 0xFF or data[at + 1] & 0xF8 != 0xD0:
                return -1
            state[:] = at + 2, 0, 0, 0
            previous[:] = 0
        row, column = unit // wide, unit % wide
        for c in range(len(layout)):
            part = layout[c]
            for y in range(part[_V]):
                for x in range(part[_H]):
                    index = (
                        part[_FIRST] + (row * part[_V] + y) * part[_STRIDE] + column * part[_H] + x
                    )
                    if not _decode_block(
                        data, state, luts, part, blocks[index], previous[c], spectrum
                    ):
                        return -1
    return state[0]


@njit(cache=True, inline="always")
def _put(out, sink, value, count):  # type: ignore[no-untyped-def]
    """Append bits; `sink` is position, bit buffer, bits in it."""
    sink[1] = (sink[1] << count | value) & 0xFFFFFFFF
    sink[2] += count
    while sink[2] >= 8:
        sink[2] -= 8
        byte = (sink[1] >> sink[2]) & 0xFF
        out[sink[0]] = byte
        sink[0] += 1
        if byte == 0xFF:
            out[sink[0]] = 0
            sink[0] += 1


@njit(cache=True, inline="always")
def _emit(out, sink, codes, counts, symbol, value, size):  # type: ignore[no-untyped-def]
    """Count a symbol, or write it and the `size` bits of its value."""
    if out.size == 0:
        counts[symbol] += 1
        sink[0] += size
        return
    _put(out, sink, codes[symbol] & 0xFFFF, codes[symbol] >> 16)
    if size:
        _put(out, sink, value if value > 0 else value + (1 << size) - 1, size)


@njit(cache=True, inline="always")
def _size(value):  # type: ignore[no-untyped-def]
    """Return the bits of |value|."""
    size = 0
    value = abs(value)
    while value:
        size += 1
        value >>= 1
    return size


@njit(cache=True)
def _encode_scan(blocks, layout, codes, counts, out):  # type: ignore[no-untyped-def]
    """Write a sequential scan into `out` and return its bytes.

    With an empty `out`, count symbols into `counts` and return the bits of all values.
    """
    sink = np.zeros(3, np.int64)
    previous = np.zeros(len(layout), np.int64)
    wide, high = layout[0, _WIDE], layout[0, _HIGH]
    for unit in range(wide * high):
        row, column = unit // wide, unit % wide
        for c in range(len(layout)):
            part = layout[c]
            dc, ac = part[_DC], part[_AC]
            for y in range(part[_V]):
                for x in range(part[_H]):
                    block = blocks[
                        part[_FIRST] + (row * part[_V] + y) * part[_STRIDE] + column * part[_H] + x
                    ]
                    difference = block[0] - previous[c]
                    previous[c] = block[0]
                    size = _size(difference)
                    _emit(out, sink, codes[dc], counts[dc], size, difference, size)
                    run = 0
                    for k in range(1, 64):
                        value = np.int64(block[k])
                        if value == 0:
                            run += 1
                            continue
                        while run > 15:
                            _emit(out, sink, codes[ac], counts[ac], 0xF0, 0, 0)
                            run -= 16
                        size = _size(value)
                        _emit(out, sink, codes[ac], counts[ac], run << 4 | size, value, size)
                        run = 0
                    if run:
                        _emit(out, sink, codes[ac], counts[ac], 0, 0, 0)
    if out.size and sink[2]:
        _put(out, sink, (1 << (8 - sink[2])) - 1, 8 - sink[2])  # pad with ones
    return sink[0]
