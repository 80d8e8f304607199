"""The entropy coding of JPEG scans (ITU-T T.81): Huffman, read and written, compiled.

Read: sequential and progressive scans with restarts. Written: one sequential scan with tables
made for it. `jpeg.py` gives the blocks their meaning.

A scan's `layout` (components, 8) says where its blocks lie; see the column names below.
"""

import heapq
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Lookup = NDArray[np.int32]
Blocks = NDArray[np.int16]
_F = TypeVar("_F", bound=Callable[..., Any])

TABLES: Final = 4  # of each class
# Columns of a scan's layout, one row per component.
FIRST, STRIDE, SAMPLING_H, SAMPLING_V, UNITS_WIDE, UNITS_HIGH, DC_TABLE, AC_TABLE = range(8)
_SIZES: Final = np.array([value.bit_length() for value in range(65536)], np.int64)


def read_tables(payload: bytes, luts: Lookup) -> None:
    """Fill lookup tables: 16 bits ahead → code length << 8 | symbol, 0 where no code begins."""
    at = 0
    while at < len(payload):
        slot = (payload[at] >> 4) * TABLES + (payload[at] & 15)
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


def code_lengths(counts: Ints) -> list[list[int]]:
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


def canonical(lengths: list[list[int]]) -> tuple[Ints, bytes]:
    """Return symbol → length << 16 | code, and the table as a segment stores it."""
    codes = np.zeros(256, np.int64)
    code = 0
    for length, symbols in enumerate(lengths, 1):
        for symbol in symbols:
            codes[symbol] = length << 16 | code
            code += 1
        code <<= 1
    return codes, bytes(map(len, lengths)) + bytes(s for group in lengths for s in group)


def _compiled(function: _F) -> _F:
    """Compile at the first call and keep the result on disk; types stay visible to the checker."""
    return cast(_F, njit(cache=True)(function))


# A reader's state: position, bit buffer, bits in it, end-of-band run left.


@_compiled
def _bits(data: Bytes, state: Ints, count: int) -> int:
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
    return int((state[1] >> state[2]) & ((1 << count) - 1))


@_compiled
def _symbol(data: Bytes, state: Ints, lut: Lookup) -> int:
    """Return the next Huffman symbol, or -1 where no code begins."""
    entry = lut[_bits(data, state, 16)]
    state[2] += 16 - (entry >> 8)
    return entry & 0xFF if entry else -1


@_compiled
def _signed(data: Bytes, state: Ints, size: int) -> int:
    """Return a value of `size` bits in JPEG's sign convention (T.81, F.2.2.1 EXTEND)."""
    if size == 0:
        return 0
    value = _bits(data, state, size)
    return value if value >> (size - 1) else value - (1 << size) + 1


@_compiled
def _sequential_ac(
    data: Bytes,
    state: Ints,
    lut: Lookup,
    block: Blocks,
    start: int,
    end: int,
    low: int,
) -> bool:
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
    return True


@_compiled
def _refined_ac(
    data: Bytes,
    state: Ints,
    lut: Lookup,
    block: Blocks,
    start: int,
    end: int,
    low: int,
) -> bool:
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


@_compiled
def _decode_block(
    data: Bytes,
    state: Ints,
    luts: Lookup,
    part: Ints,
    block: Blocks,
    previous: Ints,
    spectrum: Ints,
) -> bool:
    """Decode what one scan says about one block."""
    start, end, high, low, progressive = spectrum
    if start == 0:
        if high:
            block[0] |= _bits(data, state, 1) << low
        else:
            size = _symbol(data, state, luts[part[DC_TABLE]])
            if size < 0 or size > 15:
                return False
            previous[0] += _signed(data, state, size)
            block[0] = previous[0] << low
    if end == 0:
        return True
    first = max(start, 1)
    if progressive and high:
        return _refined_ac(data, state, luts[part[AC_TABLE]], block, first, end, low)
    return _sequential_ac(data, state, luts[part[AC_TABLE]], block, first, end, low)


@_compiled
def decode_scan(
    data: Bytes,
    at: int,
    blocks: Blocks,
    layout: Ints,
    luts: Lookup,
    spectrum: Ints,
    interval: int,
) -> bool:
    """Decode one scan into `blocks`; return whether it is sound.

    Args:
        data: the whole file.
        at: where the scan's coded data begin.
        blocks: (N, 64) coefficients in zigzag order, written in place.
        layout: (components, 8), columns as named above.
        luts: (8, 65536) of `read_tables`: four tables for DC, then four for AC.
        spectrum: Ss, Se, Ah, Al (T.81, B.2.3) and whether the process is progressive.
        interval: MCUs between restart markers, 0 for none.
    """
    state = np.array([at, 0, 0, 0])
    previous = np.zeros((len(layout), 1), np.int64)
    wide, high = layout[0, UNITS_WIDE], layout[0, UNITS_HIGH]
    for unit in range(wide * high):
        if interval and unit and unit % interval == 0:
            at = state[0]
            if at + 1 >= data.size or data[at] != 0xFF or data[at + 1] & 0xF8 != 0xD0:
                return False
            state[:] = at + 2, 0, 0, 0
            previous[:] = 0
        row, column = unit // wide, unit % wide
        for c in range(len(layout)):
            part = layout[c]
            for y in range(part[SAMPLING_V]):
                for x in range(part[SAMPLING_H]):
                    index = (
                        part[FIRST]
                        + (row * part[SAMPLING_V] + y) * part[STRIDE]
                        + column * part[SAMPLING_H]
                        + x
                    )
                    if not _decode_block(
                        data, state, luts, part, blocks[index], previous[c], spectrum
                    ):
                        return False
    return True


@_compiled
def _put(out: Bytes, sink: Ints, value: int, count: int) -> None:
    """Append bits; `sink` is position, bit buffer, bits in it."""
    sink[1] = (sink[1] << count | value) & 0xFFFFFFFFFF
    sink[2] += count
    while sink[2] >= 8:
        sink[2] -= 8
        byte = (sink[1] >> sink[2]) & 0xFF
        out[sink[0]] = byte
        sink[0] += 1
        if byte == 0xFF:
            out[sink[0]] = 0
            sink[0] += 1


@_compiled
def _emit(
    out: Bytes, sink: Ints, codes: Ints, counts: Ints, symbol: int, value: int, size: int
) -> None:
    """Count a symbol, or write it and the `size` bits of its value."""
    if out.size == 0:
        counts[symbol] += 1
        sink[0] += size
        return
    bits = value if value >= 0 else value + (1 << size) - 1
    _put(out, sink, (codes[symbol] & 0xFFFF) << size | bits, (codes[symbol] >> 16) + size)


@_compiled
def encode_scan(blocks: Blocks, layout: Ints, codes: Ints, counts: Ints, out: Bytes) -> int:
    """Write a sequential scan into `out` and return its bytes.

    With an empty `out`, count symbols into `counts` and return the bits of all values.
    """
    sink = np.zeros(3, np.int64)
    previous = np.zeros(len(layout), np.int64)
    wide, high = layout[0, UNITS_WIDE], layout[0, UNITS_HIGH]
    for unit in range(wide * high):
        row, column = unit // wide, unit % wide
        for c in range(len(layout)):
            part = layout[c]
            dc, ac = part[DC_TABLE], part[AC_TABLE]
            dc_codes, dc_counts, ac_codes, ac_counts = codes[dc], counts[dc], codes[ac], counts[ac]
            for y in range(part[SAMPLING_V]):
                for x in range(part[SAMPLING_H]):
                    block = blocks[
                        part[FIRST]
                        + (row * part[SAMPLING_V] + y) * part[STRIDE]
                        + column * part[SAMPLING_H]
                        + x
                    ]
                    difference = int(block[0] - previous[c])
                    previous[c] = block[0]
                    size = int(_SIZES[abs(difference)])
                    _emit(out, sink, dc_codes, dc_counts, size, difference, size)
                    run = 0
                    for k in range(1, 64):
                        value = int(block[k])
                        if value == 0:
                            run += 1
                            continue
                        while run > 15:
                            _emit(out, sink, ac_codes, ac_counts, 0xF0, 0, 0)
                            run -= 16
                        size = int(_SIZES[abs(value)])
                        _emit(out, sink, ac_codes, ac_counts, run << 4 | size, value, size)
                        run = 0
                    if run:
                        _emit(out, sink, ac_codes, ac_counts, 0, 0, 0)
    if out.size and sink[2]:
        _put(out, sink, (1 << (8 - sink[2])) - 1, 8 - sink[2])  # pad with ones
    return int(sink[0])
