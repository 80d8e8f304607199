"""The face as a few hundred vertices, the same places on every head, and who mirrors whom.

They are spread over the outside of skin, nose, lips and lids, closer in front than on the sides:
the first one is the tip of the nose, and each further one, with its partner on the other side, lies
as far from all before as can be. Head models learnt from the same base mesh differ a little in
their mean, so the choice belongs to a model.

Alphabet: F vertices of the face; V = `VERTICES` of them; E edges.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.world.mesh import Floats, Indices, vertex_normals

FACE: Final = ("skin", "nose", "u_lip", "l_lip", "l_lid", "r_lid")
"""Parts of a head whose extent is the face's box: forehead to chin."""

VERTICES: Final = 300

_NEIGHBOURS: Final = 6
_PARTNER: Final = 0.03  # dm, how far a vertex may lie from its partner's reflection
_OUTWARD: Final = 0.3  # cosine; less is within nostrils, lips and lids
_SIDEWAYS: Final = 0.4  # how much distance counts where the face looks to the side; in front 1
_CENTRE: Final = np.array([0.0, 7.0, 0.4], np.float32)  # dm, of a head


@dataclass(frozen=True)
class FaceMesh:
    """Which vertices of a head describe its face.

    Attributes:
        vertices: (F,) numbers of all vertices of the face; the first V are the mesh.
        mirror: (V,) for each its partner on the other side; itself on the middle line.
        edges: (E, 2) neighbours, each pair once.
    """

    vertices: NDArray[np.int64]
    mirror: NDArray[np.int64]
    edges: NDArray[np.int64]


@dataclass(frozen=True)
class FaceVertices:
    """Where the mesh of a face is in a picture.

    Attributes:
        xyz: (V, 3) float32 pixels: right, down, and away from the camera about their mean.
        visible: (V,) bool: nothing lies in front.
    """

    xyz: Floats
    visible: NDArray[np.bool_]

    def rows(self) -> Floats:
        """Return (V, 4) float32: `xyz`, and 1 where visible."""
        return np.column_stack([self.xyz, self.visible]).astype(np.float32)


def in_pixels(projected: NDArray[np.float64], focal: float) -> Floats:
    """Return points (V, 3) with depth in the pixels that a length has at their middle.

    Args:
        projected: (V, 3) column, row and distance, as cameras project.
        focal: pixels per decimetre at a distance of one decimetre.
    """
    distance = projected[:, 2]
    depth = (distance - distance.mean()) * focal / distance.mean()
    return np.column_stack([projected[:, :2], depth]).astype(np.float32)


def face_mesh(neutral: Floats, triangles: Indices, face: NDArray[np.int64]) -> FaceMesh:
    """Choose the mesh of a head model.

    Args:
        neutral: (·, 3) the mean head, in the frame of `mesh`.
        triangles: of the whole head.
        face: (F,) numbers of the vertices of `FACE`.

    Raises:
        ValueError: a head too coarse or too crooked: fewer than V vertices of pairs and middle.
    """
    points = neutral[face]
    outward = points - _CENTRE
    normal = vertex_normals(neutral, triangles)[face]
    outer = (normal * outward).sum(1) > _OUTWARD * np.linalg.norm(outward, axis=1)
    partner = _partners(points)
    # One side and the middle line; a partner comes with each.
    able = (partner >= 0) & (partner[partner] == np.arange(len(face))) & outer & outer[partner]
    side = np.flatnonzero(able & (points[:, 0] <= points[partner, 0]))
    alone = partner[side] == side
    weight = normal[side, 2].clip(_SIDEWAYS, 1)
    reached = np.full(len(side), np.inf)
    order: list[int] = []
    pick = int(np.argmax(np.where(alone, points[side, 2], -np.inf)))
    while reached.max(initial=0.0) > 0 and len(order) < VERTICES:
        order += dict.fromkeys((int(side[pick]), int(partner[side[pick]])))
        near = points[order[-1:]] if alone[pick] else points[order[-2:]]
        away = np.linalg.norm(points[side, None] - near, axis=2).min(1)
        reached = np.minimum(reached, weight * away)
        pick = int(np.argmax(reached * alone if len(order) == VERTICES - 1 else reached))
    if len(order) < VERTICES:
        raise ValueError(f"expected {VERTICES} vertices in pairs on the face, got {len(order)}")
    chosen = np.array(order)
    place = {number: i for i, number in enumerate(order)}
    rest = np.setdiff1d(np.arange(len(face)), chosen)
    return FaceMesh(
        vertices=face[np.concatenate([chosen, rest])],
        mirror=np.array([place[int(partner[number])] for number in order]),
        edges=_edges(points[chosen]),
    )


def _partners(points: Floats) -> NDArray[np.int64]:
    """Return (F,) the vertex nearest to each one's reflection; -1 points nowhere: none is near."""
    reflected = points * np.array([-1, 1, 1], np.float32)
    apart = np.linalg.norm(points[:, None] - reflected, axis=2)
    nearest = apart.argmin(1)
    return np.where(apart.min(1) < _PARTNER, nearest, -1).astype(np.int64)


def _edges(points: Any) -> NDArray[np.int64]:
    """Return (E, 2) every vertex with its nearest ones."""
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argsort(1, kind="stable")[:, :_NEIGHBOURS]
    pairs = np.stack([np.repeat(np.arange(len(points)), nearest.shape[1]), nearest.ravel()], 1)
    return np.unique(np.sort(pairs, 1), axis=0)
