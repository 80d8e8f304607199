"""Who wears what: hair, clothes, glasses, hats and jewellery of a random person."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pentimento.world.accessories import clothes, earrings, glasses, hat, necklace
from pentimento.world.hair import Ground, sample_style
from pentimento.world.heads import HeadParams, Heads
from pentimento.world.mesh import Floats, Mesh, part_index

Rng = np.random.Generator

_GROUNDS: Final[dict[int, tuple[Heads, Ground]]] = {}


@dataclass(frozen=True)
class Outfit:
    """What is on a head.

    Attributes:
        meshes: at rest.
        attributes: what it is, in words.
        cropped: is the scalp covered with hair to its natural line?
        curl: 0..1, how curly the hair is.
        hat: is there a hat?
    """

    meshes: list[Mesh]
    attributes: dict[str, Any]
    cropped: bool
    curl: float
    hat: bool


def draw_outfit(rng: Rng, heads: Heads, params: HeadParams, head: Mesh, points: Floats) -> Outfit:
    """Draw an outfit for a head with these 68 landmarks."""
    ground, vertices = _ground(heads), head.vertices
    female, grown = params.male < 0.5, params.age > 14
    chance = {
        "glasses": 0.10 + 0.004 * params.age,
        "hat": 0.11,
        "earrings": 0.45 * grown if female else 0.05,
        "necklace": 0.35 * grown if female else 0.06,
        "clothes": 0.96,
    }
    worn = {name: bool(rng.random() < share) for name, share in chance.items()}
    style = sample_style(rng, male=params.male, age=params.age)
    makers = {"glasses": glasses, "earrings": earrings, "necklace": necklace, "clothes": clothes}
    meshes = [make(ground, vertices, rng) for name, make in makers.items() if worn[name]]
    meshes = [_below_chin(mesh, points) for mesh in meshes]
    cover = hat(ground, vertices, rng) if worn["hat"] else None
    hair = ground.grow(vertices, style, rng, hat=cover.edge if cover else None)
    meshes += [mesh for mesh in (cover.mesh if cover else None, hair) if mesh is not None]
    cropped = style.name not in ("bald", "horseshoe", "receding")
    attributes = worn | {"hair": style.name}
    return Outfit(meshes, attributes, cropped, min(1.0, 10 * style.wave), worn["hat"])


def _below_chin(mesh: Mesh, points: Floats) -> Mesh:
    """Return a mesh without the parts of collars that would reach over chin and cheeks."""
    collar = np.isin(mesh.part, [part_index("collar"), part_index("cloth")])
    if not collar.any():
        return mesh
    corners = mesh.vertices[mesh.triangles]
    chin = points[8]
    line = chin[1] + 0.02 + 0.6 * np.maximum(chin[2] - 0.35 - corners[..., 2], 0)
    return mesh.select(~(collar & (corners[..., 1] > line).any(axis=1)))


def _ground(heads: Heads) -> Ground:
    """Return the ground under the hair of a model; probing it takes half a second, once."""
    known = _GROUNDS.get(id(heads))
    if known is None or known[0] is not heads:
        known = _GROUNDS[id(heads)] = (heads, Ground(heads))
    return known[1]
