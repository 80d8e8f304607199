"""A z-buffer in numba: meshes in, the nearest triangle of every sample out.

Coverage is exact: vertices are snapped to 1/256 sample and the edge functions are integers. Fill
rule: a sample belongs to a triangle when its centre lies inside, on a left edge or on a horizontal
top edge; so triangles that share an edge neither leave gaps nor draw a sample twice. Triangles are
two-sided. A triangle with a vertex nearer than `NEAR` is dropped, not clipped.

Several meshes are drawn one after another into one `Layer`; each leaves its own owner number there.

Alphabet: H, W samples; V vertices; T triangles.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

NEAR: Final = 0.05
_SUB: Final = 256  # sub-positions per sample and axis
_FAR: Final = 1 << 22  # snapped coordinates beyond it are dropped: products stay within int64


@dataclass(frozen=True)
class Layer:
    """What is nearest at every sample.

    Attributes:
        nearness: (H, W) float32, 1 / distance along the optical axis; 0 where nothing is.
        triangle: (H, W) int32, index into the triangles of the owner; -1 where nothing is.
        owner: (H, W) int16, number of the mesh; -1 where nothing is.
        weights: (H, W, 2) float32, perspective-correct barycentric weights of the triangle's
            first and second corner; the third has the rest.
    """

    nearness: NDArray[np.float32]
    triangle: NDArray[np.int32]
    owner: NDArray[np.int16]
    weights: NDArray[np.float32]

    @classmethod
    def empty(cls, height: int, width: int) -> "Layer":
        """Return a layer without anything in it."""
        return cls(
            np.zeros((height, width), np.float32),
            np.full((height, width), -1, np.int32),
            np.full((height, width), -1, np.int16),
            np.zeros((height, width, 2), np.float32),
        )

    def copy(self) -> "Layer":
        """Return a layer that is drawn on without changing this one."""
        return Layer(
            self.nearness.copy(), self.triangle.copy(), self.owner.copy(), self.weights.copy()
        )

    def draw(self, points: NDArray[np.float64], triangles: NDArray[np.int32], owner: int) -> None:
        """Draw a mesh.

        Args:
            points: (V, 3) column and row in samples (centres at halves) and distance > 0.
            triangles: (T, 3) int32.
            owner: the mesh's number, stored where it is nearest.
        """
        _draw(
            points, triangles, owner, self.nearness, self.triangle, self.owner, self.weights
        )  # fmt: skip


@dataclass(frozen=True)
class Camera:
    """A pinhole looking along -z from (0, 0, `distance`), and a crop of its picture.

    Attributes:
        distance: from the origin to the pinhole, decimetres.
        crop: (2, 3) affine from the plane at unit depth (x right, y down) to the unit square.
    """

    distance: float
    crop: NDArray[np.float64]

    @property
    def focal(self) -> float:
        """How long one decimetre at a distance of one decimetre is in a picture of size 1."""
        return float(np.sqrt(abs(np.linalg.det(self.crop[:, :2]))))

    def project(self, vertices: NDArray[Any], size: float) -> NDArray[np.float64]:
        """Return (..., 3) column, row (in a picture of `size`) and distance of points."""
        depth = self.distance - vertices[..., 2].astype(np.float64)
        x, y = vertices[..., 0] / depth, -vertices[..., 1] / depth
        m = self.crop * size
        return np.stack(
            [m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2], depth], -1
        )


@njit(cache=True, nogil=True)
def _draw(
    points: NDArray[np.float64], triangles: NDArray[np.int32], number: int,
    nearness: NDArray[np.float32], triangle: NDArray[np.int32], owner: NDArray[np.int16],
    weights: NDArray[np.float32],
) -> None:  # fmt: skip
    height, width = nearness.shape
    half = _SUB // 2
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if points[a, 2] < NEAR or points[b, 2] < NEAR or points[c, 2] < NEAR:
            continue
        ax, ay = np.int64(np.rint(points[a, 0] * _SUB)), np.int64(np.rint(points[a, 1] * _SUB))
        bx, by = np.int64(np.rint(points[b, 0] * _SUB)), np.int64(np.rint(points[b, 1] * _SUB))
        cx, cy = np.int64(np.rint(points[c, 0] * _SUB)), np.int64(np.rint(points[c, 1] * _SUB))
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
        low_y, high_y = min(ay, by, cy), max(ay, by, cy)
        if low_x < -_FAR or low_y < -_FAR or high_x > _FAR or high_y > _FAR:
            continue
        # Sample i has its centre at 256 i + 128.
        x0 = max(0, int((low_x + half - 1) // _SUB))
        x1 = min(width - 1, int((high_x - half) // _SUB))
        y0 = max(0, int((low_y + half - 1) // _SUB))
        y1 = min(height - 1, int((high_y - half) // _SUB))
        if x0 > x1 or y0 > y1:
            continue
        mirrored = area < 0
        if mirrored:
            b, c = c, b
            bx, by, cx, cy = cx, cy, bx, by
            area = -area
        inverse = 1.0 / area
        za, zb, zc = 1.0 / points[a, 2], 1.0 / points[b, 2], 1.0 / points[c, 2]
        # Edge functions, positive inside; an edge that is neither left nor top loses its zero.
        dxa, dya = cx - bx, cy - by
        dxb, dyb = ax - cx, ay - cy
        dxc, dyc = bx - ax, by - ay
        off_a = 0 if dya < 0 or (dya == 0 and dxa > 0) else -1
        off_b = 0 if dyb < 0 or (dyb == 0 and dxb > 0) else -1
        off_c = 0 if dyc < 0 or (dyc == 0 and dxc > 0) else -1
        px, py = x0 * _SUB + half, y0 * _SUB + half
        row_a = dxa * (py - by) - dya * (px - bx)
        row_b = dxb * (py - cy) - dyb * (px - cx)
        row_c = dxc * (py - ay) - dyc * (px - ax)
        for y in range(y0, y1 + 1):
            ea, eb, ec = row_a, row_b, row_c
            for x in range(x0, x1 + 1):
                if ea + off_a >= 0 and eb + off_b >= 0 and ec + off_c >= 0:
                    wa, wb, wc = ea * inverse * za, eb * inverse * zb, ec * inverse * zc
                    near = np.float32(wa + wb + wc)
                    if near > nearness[y, x]:
                        nearness[y, x] = near
                        triangle[y, x] = t
                        owner[y, x] = number
                        scale = 1.0 / (wa + wb + wc)
                        weights[y, x, 0] = wa * scale
                        weights[y, x, 1] = (wc if mirrored else wb) * scale
                ea -= dya * _SUB
                eb -= dyb * _SUB
                ec -= dyc * _SUB
            row_a += dxa * _SUB
            row_b += dxb * _SUB
            row_c += dxc * _SUB


@njit(cache=True, nogil=True)
def draw_heights(
    points: NDArray[np.float32], triangles: NDArray[np.int32], heights: NDArray[np.float32]
) -> None:
    """Keep the greatest height at every sample of an orthographic view: a shadow map.

    Args:
        points: (V, 3) column, row in samples, and height above the plane (towards the light).
        triangles: (T, 3) int32, counter-clockwise from outside.
        heights: (H, W) float32, changed in place; start from -inf.
    """
    height, width = heights.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        ux, uy = points[b, 0] - ax, points[b, 1] - ay
        vx, vy = points[c, 0] - ax, points[c, 1] - ay
        area = ux * vy - uy * vx
        if area < 1e-9:  # turned away: something in front of it faces the light
            continue
        x0 = max(0, int(np.ceil(ax + min(0.0, ux, vx) - 0.5)))
        x1 = min(width - 1, int(np.floor(ax + max(0.0, ux, vx) - 0.5)))
        y0 = max(0, int(np.ceil(ay + min(0.0, uy, vy) - 0.5)))
        y1 = min(height - 1, int(np.floor(ay + max(0.0, uy, vy) - 0.5)))
        uz, vz = points[b, 2] - az, points[c, 2] - az
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = x + 0.5 - ax, y + 0.5 - ay
                wb, wc = (px * vy - py * vx) / area, (ux * py - uy * px) / area
                if wb >= 0.0 and wc >= 0.0 and wb + wc <= 1.0:
                    h = np.float32(az + wb * uz + wc * vz)
                    if h > heights[y, x]:
                        heights[y, x] = h
