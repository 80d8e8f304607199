"""Triangle meshes with a named part on every triangle, and the table from parts to parsing classes.

Frame of all geometry: decimetres; x to the subject's left (to the right in a frontal picture), y up,
z towards the viewer. Triangles are counter-clockwise seen from outside.

Shapes: V vertices, T triangles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
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
"""Part → CelebAMask-HQ class. CelebAMask-HQ annotators count bare scalp as skin, the chest as neck."""

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
    triangles = np.ascontiguousarray(triangles, np.int32)
    corner_uv = uv[triangles] if uv.ndim == 2 else uv
    return Mesh(
        np.ascontiguousarray(vertices, np.float32),
        triangles,
        np.ascontiguousarray(corner_uv, np.float32),
        np.full(len(triangles), part_index(part), np.uint8),
    )


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Return one mesh with the vertices and triangles of all, in order."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate(
            [mesh.triangles + np.int32(o) for mesh, o in zip(meshes, offsets, strict=False)]
        ),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.part for mesh in meshes]),
    )


def vertex_normals(vertices: Floats, triangles: Indices) -> Floats:
    """Return unit normals (V, 3), the area-weighted mean of the triangles around each vertex.

    A vertex of no triangle gets a zero normal.
    """
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    face = np.cross(b - a, c - a)
    count = len(vertices)
    total = np.stack(
        [
            sum(np.bincount(triangles[:, corner], face[:, axis], count) for corner in range(3))
            for axis in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(length, 1e-12)).astype(np.float32)


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
