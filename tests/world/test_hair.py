import numpy as np
import pytest

from pentimento.world.hair import STYLES, Ground, HairStyle, sample_style
from pentimento.world.heads import Heads, load_heads
from pentimento.world.mesh import Floats, Mesh


@pytest.fixture(scope="module")
def heads() -> Heads:
    return load_heads()


@pytest.fixture(scope="module")
def ground(heads: Heads) -> Ground:
    return Ground(heads)


def hidden_points(mesh: Mesh, points: Floats) -> list[int]:
    """Return which points (P, 3) have a triangle in front of them, seen from the front."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]].astype(np.float64) for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    hidden = []
    for number, (x, y, z) in enumerate(points):
        v = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
        w = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / area
        depth = (1 - v - w) * a[:, 2] + v * b[:, 2] + w * c[:, 2]
        if ((v >= 0) & (w >= 0) & (v + w <= 1) & (depth > z)).any():
            hidden.append(number)
    return hidden


def test_same_seed_grows_the_same_hair(heads: Heads, ground: Ground) -> None:
    def grow() -> bytes:
        rng = np.random.default_rng(5)
        mesh = ground.grow(heads.neutral, STYLES["wavy"](rng), rng)
        assert mesh is not None
        return mesh.vertices.tobytes() + mesh.triangles.tobytes() + mesh.uv.tobytes()

    assert grow() == grow()


@pytest.mark.parametrize("name", [n for n in STYLES if n != "bald"])
def test_every_style_sits_on_the_head(heads: Heads, ground: Ground, name: str) -> None:
    rng = np.random.default_rng(1)
    mesh = ground.grow(heads.neutral, STYLES[name](rng), rng)
    assert mesh is not None
    assert np.isfinite(mesh.vertices).all()
    assert (mesh.uv >= 0).all()
    assert (mesh.uv <= 1).all()
    skull = heads.neutral[heads.vertices_of("scalp")]
    assert abs(mesh.vertices[:, 0].mean()) < 0.25
    assert mesh.vertices[:, 1].max() > skull[:, 1].max() - 0.1 or name == "horseshoe"
    # Nothing grows out of the cheeks: all roots are within the hairline.
    assert len(hidden_points(mesh, heads.landmarks(heads.neutral)[68][27:68])) == 0


def test_a_bald_head_has_no_hair(heads: Heads, ground: Ground) -> None:
    rng = np.random.default_rng(0)
    assert ground.grow(heads.neutral, STYLES["bald"](rng), rng) is None


def test_hair_follows_the_identity(heads: Heads, ground: Ground) -> None:
    rng = np.random.default_rng(0)
    style = STYLES["buzz"](rng)
    shifted = heads.neutral + np.array([0.0, 0.3, 0.0], np.float32)
    here = ground.grow(heads.neutral, style, np.random.default_rng(1))
    there = ground.grow(shifted, style, np.random.default_rng(1))
    assert here is not None
    assert there is not None
    rise = there.vertices[:, 1].mean() - here.vertices[:, 1].mean()
    assert rise == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("block", range(4))
def test_hair_leaves_the_eyes_free(heads: Heads, ground: Ground, block: int) -> None:
    """Two hundred people: no lock hangs before the middle of an eye or a pupil."""
    for seed in range(50 * block, 50 * block + 50):
        rng = np.random.default_rng(seed)
        params = heads.sample(rng)
        vertices = heads.vertices(params)
        mesh = ground.grow(vertices, sample_style(rng, male=params.male, age=params.age), rng)
        if mesh is not None:
            points = heads.landmarks(vertices)
            eyes = np.concatenate([points[5][:2], points[98][96:]])
            assert hidden_points(mesh, eyes) == [], f"seed {seed}"


def test_a_hat_presses_the_hair(heads: Heads, ground: Ground) -> None:
    style = STYLES["afro"](np.random.default_rng(2))
    edge = np.full(len(ground.angles), 0.9)
    free = ground.grow(heads.neutral, style, np.random.default_rng(3))
    under = ground.grow(heads.neutral, style, np.random.default_rng(3), hat=edge)
    assert free is not None
    assert under is not None
    assert under.vertices[:, 1].max() < free.vertices[:, 1].max() - 0.3


def test_long_hair_reaches_further_than_short(heads: Heads, ground: Ground) -> None:
    def lowest(style: HairStyle) -> float:
        mesh = ground.grow(heads.neutral, style, np.random.default_rng(0))
        assert mesh is not None
        return float(mesh.vertices[:, 1].min())

    rng = np.random.default_rng(0)
    assert lowest(STYLES["long"](rng)) < lowest(STYLES["bob"](rng)) < lowest(STYLES["short"](rng))


def test_styles_suit_people() -> None:
    rng = np.random.default_rng(0)
    old_men = [sample_style(rng, male=1.0, age=70.0).name for _ in range(200)]
    girls = [sample_style(rng, male=0.0, age=20.0).name for _ in range(200)]
    thin = {"bald", "horseshoe", "receding"}
    assert sum(name in thin for name in old_men) > 60
    assert not thin & set(girls)
    assert len(set(girls)) >= 6
