from collections.abc import Callable

import numpy as np
import pytest

from pentimento.world.accessories import clothes, earrings, glasses, hat, necklace
from pentimento.world.hair import Ground
from pentimento.world.heads import Heads, load_heads
from pentimento.world.mesh import PARTS, Floats, Mesh

Maker = Callable[[Ground, Floats, np.random.Generator], Mesh]


@pytest.fixture(scope="module")
def heads() -> Heads:
    return load_heads()


@pytest.fixture(scope="module")
def ground(heads: Heads) -> Ground:
    return Ground(heads)


def hat_mesh(ground: Ground, vertices: Floats, rng: np.random.Generator) -> Mesh:
    return hat(ground, vertices, rng).mesh


MAKERS: dict[str, tuple[Maker, tuple[str, ...], set[str]]] = {
    "glasses": (glasses, ("l_ear", "r_ear", "nose", "skin"), {"glasses", "lens"}),
    "hat": (hat_mesh, ("scalp", "skin"), {"hat"}),
    "earrings": (earrings, ("l_ear", "r_ear"), {"earring"}),
    "necklace": (necklace, ("neck", "chest"), {"necklace"}),
    "clothes": (clothes, ("neck", "chest"), {"cloth", "collar"}),
}


def gap(points: Floats, others: Floats) -> float:
    """Return the least distance between two sets of points."""
    return min(float(np.linalg.norm(others - p, axis=1).min()) for p in points[::3])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("seed", range(4))
def test_accessories_touch_the_head(heads: Heads, ground: Ground, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = heads.vertices(heads.sample(rng))
    make, touched, parts = MAKERS[name]
    mesh = make(ground, vertices, rng)
    assert np.isfinite(mesh.vertices).all()
    assert {PARTS[k] for k in np.unique(mesh.part)} <= parts
    assert gap(mesh.vertices, vertices[heads.vertices_of(*touched)]) < 0.1


@pytest.mark.parametrize("name", MAKERS)
def test_same_seed_makes_the_same_thing(heads: Heads, ground: Ground, name: str) -> None:
    make = MAKERS[name][0]
    first, second = (make(ground, heads.neutral, np.random.default_rng(8)) for _ in range(2))
    assert first.vertices.tobytes() == second.vertices.tobytes()
    assert first.uv.tobytes() == second.uv.tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_lenses_stand_before_the_eyes(heads: Heads, ground: Ground, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = heads.vertices(heads.sample(rng))
    mesh = glasses(ground, vertices, rng)
    lens = mesh.select(mesh.part == PARTS.index("lens"))
    for side, ball in zip((-1, 1), heads.eyeballs, strict=True):
        one = lens.vertices[np.sign(lens.vertices[:, 0]) == side]
        eye = vertices[ball]
        middle = (eye.min(axis=0) + eye.max(axis=0)) / 2
        assert (one.min(axis=0)[:2] < middle[:2]).all()
        assert (one.max(axis=0)[:2] > middle[:2]).all()
        assert one[:, 2].max() > eye[:, 2].max()


@pytest.mark.parametrize("seed", range(6))
def test_hats_leave_the_face_free(heads: Heads, ground: Ground, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = heads.vertices(heads.sample(rng))
    worn = hat(ground, vertices, rng)
    assert worn.edge.shape == ground.angles.shape
    brows = heads.landmarks(vertices)[68][36:48, 1].max()
    front = worn.mesh.vertices[worn.mesh.vertices[:, 2] > 1.2]
    assert front[:, 1].min() > brows
    assert worn.mesh.vertices[:, 1].max() > vertices[heads.vertices_of("scalp"), 1].max()


def test_clothes_stay_below_the_chin(heads: Heads, ground: Ground) -> None:
    chin = heads.landmarks(heads.neutral)[68][8, 1]
    for seed in range(8):
        mesh = clothes(ground, heads.neutral, np.random.default_rng(seed))
        throat = mesh.vertices[(np.abs(mesh.vertices[:, 0]) < 0.2) & (mesh.vertices[:, 2] > 0.6)]
        assert throat[:, 1].max() < chin + 0.05
