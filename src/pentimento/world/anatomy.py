"""Where things are on a head: landmarks as points of triangles, and fields over the skin.

Both are found once, when a head model is learnt, on the base mesh seen from the front. From then on
they are tied to triangles and vertices, so they follow every identity and expression.

Landmark orders: 68 is that of iBUG 300-W, 98 that of WFLW; both start at the jaw on the left of the
picture, which is the subject's right.

Shapes: V vertices, T triangles, P landmarks; a view has H rows and W columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pentimento.world.mesh import Floats, Indices, part_index

PIXEL: Final = 0.006
"""Decimetres per sample of the front view in which landmarks are found."""

_FACE: Final = ("skin", "nose", "u_lip", "l_lip", "mouth", "l_lid", "r_lid", "l_eye", "r_eye")

HAIRLINE: Final = np.array(
    [(0, 7.98), (18, 8.0), (34, 7.97), (43, 7.72), (50, 7.3), (55, 7.05), (62, 7.0), (68, 7.38),
     (80, 7.42), (98, 7.2), (112, 6.85), (140, 6.6), (180, 6.52)]
)  # fmt: skip
"""Height of the hairline (dm) over the angle (degrees) about the skull's axis, 0 in front."""


@dataclass(frozen=True)
class Anchors:
    """Points that ride on a mesh.

    Attributes:
        corners: (P, 3) vertex numbers.
        weights: (P, 3) float32, rows sum to one.
    """

    corners: Indices
    weights: Floats

    def of(self, vertices: Floats) -> Floats:
        """Return the points (P, 3) on the given vertices."""
        points: Floats = np.einsum("pcx,pc->px", vertices[self.corners], self.weights)
        return points


class FrontView:
    """What is seen from the front: for each sample the nearest triangle and the place on it."""

    def __init__(self, vertices: NDArray[np.floating], triangles: Indices, part: NDArray[np.uint8]):
        self.triangles = triangles
        self.part = part
        # The mirror axis x = 0 lies between two columns, so columns mirror exactly.
        self.width = 2 * int(np.ceil(1.0 / PIXEL))
        self.top = float(vertices[:, 1].max()) + PIXEL
        self.height = int(np.ceil((self.top - 5.5) / PIXEL)) if self.top > 5.5 else 2
        self.triangle = np.full((self.height, self.width), -1)
        self.weights = np.zeros((self.height, self.width, 3))
        self.depth = np.full((self.height, self.width), -np.inf)
        columns = vertices[:, 0] / PIXEL + self.width / 2
        rows = (self.top - vertices[:, 1]) / PIXEL
        for index, corners in enumerate(triangles):
            self._draw(index, columns[corners], rows[corners], vertices[corners, 2])

    def _draw(
        self,
        index: int,
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        z: NDArray[np.floating],
    ) -> None:
        left, right = max(int(x.min()), 0), min(int(x.max()) + 1, self.width)
        top, bottom = max(int(y.min()), 0), min(int(y.max()) + 1, self.height)
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        if left >= right or top >= bottom or abs(area) < 1e-9:
            return
        py, px = np.mgrid[top:bottom, left:right] + 0.5
        b = ((px - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (py - y[0])) / area
        c = ((x[1] - x[0]) * (py - y[0]) - (px - x[0]) * (y[1] - y[0])) / area
        weights = np.stack([1 - b - c, b, c], axis=-1)
        depth = weights @ z
        block = np.s_[top:bottom, left:right]
        nearer = (weights.min(axis=-1) >= -1e-9) & (depth > self.depth[block])
        self.depth[block][nearer] = depth[nearer]
        self.triangle[block][nearer] = index
        self.weights[block][nearer] = weights[nearer]

    def mask(self, *parts: str) -> NDArray[np.bool_]:
        """Return where (H, W) one of the parts is in front."""
        wanted = np.isin(self.part, [part_index(name) for name in parts])
        seen: NDArray[np.bool_] = (self.triangle >= 0) & wanted[self.triangle]
        return seen

    def column(self, x: float) -> int:
        """Return the column of a position in decimetres."""
        return int(np.clip(x / PIXEL + self.width / 2, 0, self.width - 1))

    def row(self, y: float) -> int:
        """Return the row of a height in decimetres."""
        return int(np.clip((self.top - y) / PIXEL, 0, self.height - 1))

    def anchors(self, pixels: Sequence[tuple[int, int]], *parts: str) -> Anchors:
        """Return the mesh points under (row, column) samples, of the nearest sample of `parts`."""
        rows, columns = np.nonzero(self.mask(*(parts or _FACE)))
        corners, weights = [], []
        for row, column in pixels:
            k = int(np.argmin((rows - row) ** 2 + (columns - column) ** 2))
            at = rows[k], columns[k]
            corners.append(self.triangles[self.triangle[at]])
            weights.append(self.weights[at])
        return Anchors(np.array(corners, np.int32), np.array(weights, np.float32))


def _edge(mask: NDArray[np.bool_], column: float, *, top: bool) -> tuple[int, int]:
    """Return the highest or lowest sample of a mask in a column."""
    columns = np.flatnonzero(mask.any(axis=0))
    c = int(columns[np.argmin(np.abs(columns - column))])
    rows = np.flatnonzero(mask[:, c])
    return int(rows[0] if top else rows[-1]), round(column)


def _lip_edge(view: FrontView, name: str, column: float) -> tuple[int, int]:
    """Return the sample of a lip next to the mouth's opening: where its outer face ends."""
    c = round(column)
    rows = np.flatnonzero(view.mask(name)[:, c])
    if name == "l_lip":
        rows = rows[::-1]
    # Inside the mouth the same part goes on, but further back.
    breaks = (np.abs(np.diff(rows)) > 1) | (np.diff(view.depth[rows, c]) < -0.03)
    return int(rows[np.argmax(breaks) if breaks.any() else -1]), c


def _opening(mask: NDArray[np.bool_], at: Sequence[float]) -> list[tuple[int, int]]:
    """Return the contour of an eye: corner, upper samples, corner, lower samples, clockwise."""
    columns = np.flatnonzero(mask.any(axis=0))
    left, right = int(columns[0]), int(columns[-1])
    width = right - left
    upper = [_edge(mask, left + f * width, top=True) for f in at]
    lower = [_edge(mask, left + f * width, top=False) for f in reversed(at)]
    corner = [(int(np.flatnonzero(mask[:, c]).mean()), c) for c in (left, right)]
    up, down = ([(r + d, c) for r, c in rim] for rim, d in ((upper, -1), (lower, 1)))
    return [(corner[0][0], left - 1), *up, (corner[1][0], right + 1), *down]


def _mouth(view: FrontView) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the outer (12) and inner (8) lip contours, clockwise from the left corner."""
    upper, lower = view.mask("u_lip"), view.mask("l_lip")
    both = upper | lower
    columns = np.flatnonzero(both.any(axis=0))
    left, right = int(columns[0]), int(columns[-1])
    width = right - left
    corner = [(int(np.flatnonzero(both[:, c]).mean()), c) for c in (left, right)]
    outer_at, inner_at = (0.17, 0.38, 0.5, 0.62, 0.83), (0.28, 0.5, 0.72)
    outer = [
        corner[0],
        *(_edge(upper, left + f * width, top=True) for f in outer_at),
        corner[1],
        *(_edge(lower, left + f * width, top=False) for f in reversed(outer_at)),
    ]
    inner = [
        _lip_edge(view, "u_lip", left + 0.07 * width),
        *(_lip_edge(view, "u_lip", left + f * width) for f in inner_at),
        _lip_edge(view, "u_lip", left + 0.93 * width),
        *(_lip_edge(view, "l_lip", left + f * width) for f in reversed(inner_at)),
    ]
    return outer, inner


def _jaw(view: FrontView, level: float, count: int) -> list[tuple[int, int]]:
    """Return `count` samples along the face's edge, from one ear over the chin to the other."""
    face = view.mask(*_FACE)
    start, middle = view.row(level), view.column(-PIXEL / 2)
    half = face[:, : middle + 1]
    centre = view.row(level - 0.4)
    edge = []
    ear = int(np.flatnonzero(half[start])[0])
    for angle in np.linspace(np.arctan2(start - centre, middle - ear), np.pi / 2, 400):
        reach = np.arange(int(np.hypot(view.height, middle)))
        rows = (centre + reach * np.sin(angle)).astype(int)
        columns = (middle - reach * np.cos(angle)).astype(int)
        inside = (rows < view.height) & (rows >= start) & (columns >= 0)
        rows, columns = rows[inside], columns[inside]
        hit = np.flatnonzero(half[rows, columns])
        if len(hit):
            edge.append((rows[hit[-1]], columns[hit[-1]]))
    line = np.array(edge or [(centre, middle)], float)
    line = np.column_stack(
        [np.convolve(np.pad(c, 7, "edge"), np.ones(15) / 15, "valid") for c in line.T]
    )
    line[-1, 1] = middle
    run = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.linspace(0, run[-1], (count + 1) // 2)
    left = [
        (round(np.interp(s, run, line[:, 0])), round(np.interp(s, run, line[:, 1]))) for s in at
    ]
    mirror = [(r, view.width - 1 - c) for r, c in left[-2::-1]]
    return left + mirror


def _brow_curve(brow: NDArray[np.float64], share: float) -> np.poly1d:
    """Return height over |x| of the brow strip, at a share of its thickness from its lower edge."""
    side = brow[brow[:, 0] > 0]
    groups = np.array_split(side[np.argsort(side[:, 0])], 6)
    at = [g[:, 0].mean() for g in groups]
    edges = [np.polyfit(at, [f(g[:, 1]) for g in groups], 2) for f in (np.min, np.max)]
    return np.poly1d((1 - share) * edges[0] + share * edges[1])


def brow_span(brow: NDArray[np.float64]) -> tuple[float, float]:
    """Return |x| of the inner and outer end of a brow; the strip runs on into the temple."""
    inside, outside = float(np.abs(brow[:, 0]).min()), float(np.abs(brow[:, 0]).max())
    return inside, inside + 0.84 * (outside - inside)


def landmark_points(
    vertices: NDArray[np.floating],
    parted: NDArray[np.floating],
    triangles: Indices,
    part: NDArray[np.uint8],
    brow: NDArray[np.float64],
) -> dict[int, Anchors]:
    """Return the anchors of 68 and 98 landmarks.

    Args:
        vertices: (V, 3) the base head.
        parted: (V, 3) the same with lips apart, so that their inner borders are seen.
        triangles: (T, 3).
        part: (T,) index into `PARTS`.
        brow: (B, 3) outline of the eyebrows.
    """
    view, lips = FrontView(vertices, triangles, part), FrontView(parted, triangles, part)
    eyes = [view.mask("r_eye"), view.mask("l_eye")]
    level = view.top - PIXEL * float(np.nonzero(eyes[0] | eyes[1])[0].mean())
    nose = view.mask("nose")
    outer, inner = _mouth(lips)
    tip = int(np.argmax(np.where(nose, view.depth, -np.inf).max(axis=1)))
    middle = view.column(-PIXEL / 2)
    base_row = _edge(nose, middle, top=False)[0]
    half = middle - int(np.flatnonzero(nose[tip:base_row].any(axis=0))[0])
    bridge = [(round(r), middle) for r in np.linspace(view.row(level), tip, 4)]
    # The nose's faces reach into the upper lip beside the philtrum, so its middle gives the level.
    wings = [
        (base_row - round(rise / PIXEL), round(middle + f * half))
        for f, rise in ((-0.85, 0.03), (-0.42, -0.01), (0, 0), (0.42, -0.01), (0.85, 0.03))
    ]

    inside, outside = brow_span(brow)
    span = outside - inside

    def brows(at: Sequence[float], share: float) -> list[tuple[int, int]]:
        """Return samples over the image-left brow, at shares of its length from outside."""
        curve = _brow_curve(brow, share)
        xs = [outside - f * span for f in at]
        return [(view.row(float(curve(x))), view.column(-x)) for x in xs]

    def mirrored(pixels: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        return [(r, view.width - 1 - c) for r, c in pixels]

    arc = brows((0.08, 0.3, 0.52, 0.74, 0.95), 0.35)
    above = brows((0.03, 0.27, 0.5, 0.73, 0.95), 0.5)
    below = brows((0.95, 0.73, 0.5, 0.27), 0.03)
    lid68, lid98 = (0.33, 0.67), (0.25, 0.5, 0.75)
    anchors = {}
    for count in (68, 98):
        at = lid68 if count == 68 else lid98
        half_turn = len(at) + 1
        left_eye = _opening(eyes[0], at)
        right = mirrored(left_eye)
        # The mirrored contour runs backwards; restart it at its image-left corner.
        right_eye = [
            right[half_turn],
            *right[half_turn - 1 : 0 : -1],
            right[0],
            *right[:half_turn:-1],
        ]
        jaw = _jaw(view, level, 17 if count == 68 else 33)
        upper = (
            arc + mirrored(arc)[::-1]
            if count == 68
            else above + below + mirrored(above)[::-1] + mirrored(below)[::-1]
        )
        groups = [
            view.anchors(jaw),
            view.anchors(upper, "skin"),
            view.anchors(bridge, "nose"),
            view.anchors(wings, "nose"),
            view.anchors(left_eye + right_eye, "skin", "l_lid", "r_lid"),
            lips.anchors(outer + inner, "u_lip", "l_lip"),
        ]
        if count == 98:
            groups += [_pupil(view, vertices, name) for name in ("r_eye", "l_eye")]
        anchors[count] = Anchors(
            np.concatenate([g.corners for g in groups]), np.concatenate([g.weights for g in groups])
        )
    return anchors


def _pupil(view: FrontView, vertices: NDArray[np.floating], name: str) -> Anchors:
    ball = vertices[np.unique(view.triangles[view.part == part_index(name)])]
    x, y, _ = (ball.min(axis=0) + ball.max(axis=0)) / 2
    return view.anchors([(view.row(y), view.column(x))], name)


def skin_fields(
    vertices: NDArray[np.floating],
    triangles: Indices,
    part: NDArray[np.uint8],
    brow: NDArray[np.float64],
    rims: NDArray[np.floating],
) -> dict[str, Floats]:
    """Return named fields (V,) over the skin, smooth enough to be interpolated over triangles.

    Fields:
        hairline: decimetres above the hairline; hair grows where it is positive.
        brow_u, brow_v: place in the nearer eyebrow, u 0 (inner end) … 1 (outer end), v -1 (lower
            edge) … 1 (upper edge); beyond these values outside it.
        beard, moustache, blush, under_eye, nasolabial, forehead: 0 … 1.
        lip_border: 1 on the border between lip and skin.
        lash: 1 on the rims of the lids.

    Args:
        vertices: (V, 3) the base head.
        triangles: (T, 3).
        part: (T,) index into `PARTS`.
        brow: (B, 3) outline of the eyebrows.
        rims: (16, 3) points round the lids, eight of each eye in order.
    """
    x, y, z = np.abs(vertices[:, 0]), vertices[:, 1], vertices[:, 2]

    def ramp(value: NDArray[np.floating], low: float, high: float) -> NDArray[np.floating]:
        t = np.clip((value - low) / (high - low), 0, 1)
        return np.asarray(t * t * (3 - 2 * t))

    def near(cx: float, cy: float, sx: float, sy: float) -> NDArray[np.floating]:
        distance = ((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2
        return np.asarray(np.exp(-distance) * ramp(z, 0.6, 1.0))

    def of(*parts: str) -> NDArray[np.bool_]:
        inside = np.zeros(len(vertices), bool)
        inside[triangles[np.isin(part, [part_index(p) for p in parts])]] = True
        return inside

    angle = np.degrees(np.arctan2(x, z - 0.45))
    hairline = np.clip(y - np.interp(angle, *HAIRLINE.T), -1, 1)
    hairline = np.where(
        of("l_ear", "r_ear", "l_eye", "r_eye", "mouth", "teeth", "tongue"), -1, hairline
    )

    inside, outside = brow_span(brow)
    along = np.clip(x, inside, outside)
    low, high = _brow_curve(brow, 0.0)(along), _brow_curve(brow, 0.5)(along)
    brow_v = np.clip((y - (low + high) / 2) / ((high - low) / 2), -9, 9)
    brow_v = np.where(z > 0.7, brow_v, 9.0)

    lips = of("u_lip", "l_lip")
    cheek_line = 6.68 + 0.95 * np.maximum(x - 0.3, 0)
    beard = ramp(cheek_line - y, -0.02, 0.14) * ramp(y, 5.95, 6.2) * ramp(z, 0.25, 0.5)
    moustache = (
        ramp(0.36 - x, 0, 0.12) * ramp(6.87 - y, 0, 0.04) * ramp(y, 6.6, 6.66) * ramp(z, 1.2, 1.3)
    )
    fold = np.clip((y - 6.6) / 0.36, 0, 1)
    steps = np.linspace(0, 1, 5)[:, None, None]
    rims = np.concatenate(
        [
            ((1 - steps) * eye + steps * np.roll(eye, -1, axis=0)).reshape(-1, 3)
            for eye in np.split(rims, 2)
        ]
    )
    to_rim = np.min(np.linalg.norm(vertices[:, None] - rims[None], axis=2), axis=1)
    fields = {
        "hairline": hairline,
        "brow_u": np.clip((x - inside) / (outside - inside), -1, 2),
        "brow_v": brow_v,
        "beard": beard * ~of("l_ear", "r_ear"),
        "moustache": moustache,
        "blush": near(0.42, 6.97, 0.17, 0.16),
        "under_eye": near(0.3, 7.14, 0.16, 0.05),
        "nasolabial": np.exp(-(((x - (0.34 - 0.16 * fold)) / 0.04) ** 2))
        * ramp(y, 6.5, 6.62) * ramp(6.98 - y, 0, 0.08) * ramp(z, 1.1, 1.3),
        "forehead": near(0.0, 7.85, 0.5, 0.16),
        "lip_border": (lips & of("skin")).astype(float),
        "lash": np.exp(-((to_rim / 0.03) ** 2)) * ~of("l_eye", "r_eye"),
    }  # fmt: skip
    return {name: np.asarray(value, np.float32) for name, value in fields.items()}
