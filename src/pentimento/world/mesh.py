"""Triangle meshes with a named part on every triangle; parts map to parsing classes.

Frame of all geometry: decimetres; x to the subject's left (image right in a frontal picture), y
up, z towards the viewer. Triangles are counter-clockwise seen from outside.

Shapes: V vertices, T triangles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

PART_TO_CLASS: Final[dict[str, str]] = {
    "skin": "skin",
    "nose": "nose",
    "u_lip": "u_lip",
    "l_lip": "l_lip",
    "mouth": "mouth",
    "teeth": "mouth",
    "tongue": "mouth",
    "l_eye": "l_eye",
    "r_eye": "r_eye",
    "l_lid": "skin",
    "r_lid": "skin",
    "l_ear": "l_ear",
    "r_ear": "r_ear",
    "neck": "neck",
    "chest": "neck",
    "scalp": "skin",
    "hair": "hair",
    "hat": "hat",
    "glasses": "eye_g",
    "lens": "eye_g",
    "earring": "ear_r",
    "necklace": "neck_l",
    "cloth": "cloth",
    "collar": "cloth",
}
"""Part → CelebAMask-HQ class. Its annotators count bare scalp as skin and the chest as neck."""

PARTS: Final = tuple(PART_TO_CLASS)
"""Names of the values of `Mesh.part`."""

CLASS_OF_PART: Final[NDArray[np.uint8]] = np.array(
    [CELEBAMASK19.value(name) for name in PART_TO_CLASS.values()], np.uint8
)
"""`CLASS_OF_PART[mesh.part]` is the CelebAMask-HQ value of every triangle."""


def part_index(name: str) -> int:
    """Return the value of a part name in `Mesh.part`; ValueError if there is no such part."""
    return PARTS.index(name)


@dataclass(frozen=True)
class Mesh:
    """Triangles with a named part each.

    Attributes:
        vertices: (V, 3) float32, decimetres.
        triangles: (T, 3) int32 vertex indices, counter-clockwise from outside.
        uv: (T, 3, 2) float32 texture position of each corner, in [0, 1]. On eyeballs it is
            0.5 + 0.5·(x, y)/radius around the gaze, so that iris and pupil are circles about
            (0.5, 0.5); on hair u runs across and v along the strands, root to tip.
        part: (T,) uint8 index into `PARTS`.
    """

    vertices: Floats
    triangles: Indices
    uv: Floats
    part: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Refuse arrays whose shapes or types do not fit each other."""
        count = len(self.triangles)
        for name, shape, dtype in (
            ("vertices", (len(self.vertices), 3), np.float32),
            ("triangles", (count, 3), np.int32),
            ("uv", (count, 3, 2), np.float32),
            ("part", (count,), np.uint8),
        ):
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"Mesh.{name}: expected {shape} {np.dtype(dtype)}, "
                    f"got {array.shape} {array.dtype}"
                )

    def select(self, keep: NDArray[np.bool_]) -> "Mesh":
        """Return the mesh of the triangles where `keep` (T,) holds, without unused vertices."""
        used, corners = np.unique(self.triangles[keep], return_inverse=True)
        return Mesh(
            self.vertices[used],
            corners.reshape(-1, 3).astype(np.int32),
            self.uv[keep],
            self.part[keep],
        )

    def moved(self, vertices: Floats) -> "Mesh":
        """Return the same triangles over other vertex positions (V, 3)."""
        return replace(self, vertices=vertices)


def make_mesh(
    vertices: NDArray[np.floating],
    triangles: NDArray[np.integer],
    uv: NDArray[np.floating],
    part: str,
) -> Mesh:
    """Return a mesh of one part from arrays of any float or integer type.

    Args:
        vertices: (V, 3) decimetres.
        triangles: (T, 3) vertex indices.
        uv: (V, 2) one position per vertex, or (T, 3, 2) one per corner.
        part: a name of `PARTS`.
    """
    corner_uv = uv[triangles] if uv.ndim == 2 else uv
    return Mesh(
        np.ascontiguousarray(vertices, np.float32),
        np.ascontiguousarray(triangles, np.int32),
        np.ascontiguousarray(corner_uv, np.float32),
        np.full(len(triangles), part_index(part), np.uint8),
    )


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Return one mesh with the vertices and triangles of all, in order."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate(
            [mesh.triangles + o for mesh, o in zip(meshes, offsets, strict=False)], dtype=np.int32
        ),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.part for mesh in meshes]),
    )


def vertex_normals(vertices: Floats, triangles: Indices) -> Floats:
    """Return unit normals (V, 3), the area-weighted mean of the triangles around each vertex.

    A vertex of no triangle gets a zero normal.
    """
    normals = np.zeros((len(vertices), 3), np.float32)
    _add_normals(np.asarray(vertices, np.float32), triangles, normals)
    return normals


@njit(cache=True, nogil=True)
def _add_normals(vertices: Floats, triangles: Indices, out: Floats) -> None:
    """Sum the triangles' normals at their corners, then scale every sum to length 1."""
    total = np.zeros(out.shape)
    edge = np.zeros((2, 3), np.float32)
    for t in range(triangles.shape[0]):
        for axis in range(3):
            first = vertices[triangles[t, 0], axis]
            edge[0, axis] = vertices[triangles[t, 1], axis] - first
            edge[1, axis] = vertices[triangles[t, 2], axis] - first
        for axis in range(3):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            cross = edge[0, i] * edge[1, j] - edge[0, j] * edge[1, i]
            for corner in range(3):
                total[triangles[t, corner], axis] += cross
    for v in range(out.shape[0]):
        length = np.sqrt(total[v, 0] ** 2 + total[v, 1] ** 2 + total[v, 2] ** 2)
        for axis in range(3):
            out[v, axis] = total[v, axis] / max(length, 1e-12)


def clip(mesh: Mesh, level: Floats) -> Mesh:
    """Return the part of a mesh where a field is positive, cut exactly along its zero line.

    Args:
        mesh: V vertices.
        level: (V,) field, linear over each triangle.
    """
    above = level > 0
    count = above[mesh.triangles].sum(axis=1)
    pieces = [mesh.select(count == 3)] if (count == 3).any() else []
    for inside in (1, 2):
        chosen = count == inside
        if not chosen.any():
            continue
        # Turn each triangle so that its odd corner comes first; winding stays.
        odd = (above[mesh.triangles[chosen]] == (inside == 1)).argmax(axis=1)
        turn = (odd[:, None] + np.arange(3)) % 3
        triangles = np.take_along_axis(mesh.triangles[chosen], turn, axis=1)
        uv = np.take_along_axis(mesh.uv[chosen], turn[..., None], axis=1)
        values = level[triangles]
        position = mesh.vertices[triangles]
        cuts = []
        for other in (1, 2):
            share = (values[:, 0] / (values[:, 0] - values[:, other]))[:, None]
            cuts.append(tuple(a[:, 0] + share * (a[:, other] - a[:, 0]) for a in (position, uv)))
        (p, p_uv), (q, q_uv) = cuts
        if inside == 1:
            fans = [((position[:, 0], uv[:, 0]), (p, p_uv), (q, q_uv))]
        else:
            b, c = ((position[:, k], uv[:, k]) for k in (1, 2))
            fans = [((p, p_uv), b, c), ((p, p_uv), c, (q, q_uv))]
        for fan in fans:
            corners = np.stack([point for point, _ in fan], axis=1).astype(np.float32)
            pieces.append(
                Mesh(
                    corners.reshape(-1, 3),
                    np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3),
                    np.stack([at for _, at in fan], axis=1).astype(np.float32),
                    mesh.part[chosen],
                )
            )
    return merge(pieces)


def tube(
    path: NDArray[np.floating],
    radius: float,
    part: str,
    *,
    closed: bool = False,
    sides: int = 6,
    flat: float = 1.0,
) -> Mesh:
    """Return a tube around a path.

    Args:
        path: (S, 3) points.
        radius: decimetres.
        part: a name of `PARTS`.
        closed: join the last point to the first.
        sides: corners of the cross-section.
        flat: thickness across the path's own plane relative to the radius in it.
    """
    step = (
        np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
        if closed
        else np.gradient(path, axis=0)
    )
    along = step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
    # The direction in which the path extends least is across its plane at every point.
    _, _, axes = np.linalg.svd(path - path.mean(axis=0), full_matrices=False)
    across = axes[2] if len(axes) > 2 else np.array([0.0, 0.0, 1.0])
    first = across - along * (along @ across)[:, None]
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(first, along)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = flat * np.cos(turn)[:, None] * first[:, None] + np.sin(turn)[:, None] * second[:, None]
    points = path[:, None] + radius * ring
    if closed:
        points = np.concatenate([points, points[:1]])
    rows = len(points)
    t = np.broadcast_to(np.linspace(0, 1, rows)[:, None], (rows, sides))
    uv = np.stack([np.broadcast_to(turn / (2 * np.pi), t.shape), t], axis=-1)
    return make_mesh(
        points.reshape(-1, 3), grid_triangles(rows, sides, closed=True), uv.reshape(-1, 2), part
    )


def sphere(
    centre: NDArray[np.floating], radius: float, part: str, *, rows: int = 7, columns: int = 10
) -> Mesh:
    """Return a sphere (poles up and down) around a point (3,)."""
    polar = np.linspace(0, np.pi, rows)[:, None]
    turn = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    out = np.stack(
        np.broadcast_arrays(
            np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)
        ),
        axis=-1,
    )
    uv = np.stack(np.broadcast_arrays(turn / (2 * np.pi), polar / np.pi), axis=-1)
    return make_mesh(
        (centre + radius * out).reshape(-1, 3),
        grid_triangles(rows, columns, closed=True),
        uv.reshape(-1, 2),
        part,
    )


def grid_triangles(rows: int, columns: int, *, closed: bool = False) -> Indices:
    """Return the triangles (T, 3) of a grid of rows × columns vertices, row by row.

    Seen with rows running down and columns to the right they are counter-clockwise.

    Args:
        rows: vertices down.
        columns: vertices across.
        closed: also join the last column to the first.
    """
    across = columns if closed else columns - 1
    r, c = np.mgrid[0 : rows - 1, 0:across]
    right = (c + 1) % columns
    a, b, d, e = (
        r * columns + c,
        r * columns + right,
        (r + 1) * columns + c,
        (r + 1) * columns + right,
    )
    return np.stack([a, d, b, b, d, e], axis=-1).reshape(-1, 3).astype(np.int32)
