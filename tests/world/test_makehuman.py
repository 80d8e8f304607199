"""The learning of a head from a made-up folder: a bulged sheet with eyes, in MakeHuman's format."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pentimento.errors import DataError
from pentimento.world.heads import load_heads
from pentimento.world.makehuman import age_shares, learn_heads, part_of_group
from pentimento.world.mesh import PARTS

RECIPE = Path(__file__).parents[2] / "recipes" / "head_model.py"


def group_of(x: float, y: float) -> str:
    """Name a face of the sheet as the base file would; its sides are the viewer's."""
    side = "r" if x > 0 else "l"
    eye = np.hypot(abs(x) - 0.32, y - 7.3)
    if y < 6.2:
        return "neck"
    if eye < 0.16:
        return "hole"
    if eye < 0.26:
        return f"{side}-eye-upper-middle-li"
    if abs(x) < 0.16 and 6.88 < y < 7.25:
        return "nose-tip"
    if abs(x) < 0.26 and 6.6 < y < 6.72:
        return "mouth-upper-middle-li"
    if abs(x) < 0.26 and 6.48 < y < 6.6:
        return "mouth-lower-middle-li"
    return "head-upper-skull" if y > 8.0 else "head-brow"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with base.obj and a few targets."""
    root = tmp_path_factory.mktemp("makehuman")
    lines: list[str] = []
    vertices: list[tuple[float, float, float]] = []

    def sheet(xs: np.ndarray, ys: np.ndarray, z: np.ndarray, name: str | None) -> None:
        first = len(vertices) + 1
        vertices.extend(
            (float(x), float(y), float(z[r, c])) for r, y in enumerate(ys) for c, x in enumerate(xs)
        )
        for r in range(len(ys) - 1):
            for c in range(len(xs) - 1):
                group = name or group_of((xs[c] + xs[c + 1]) / 2, (ys[r] + ys[r + 1]) / 2)
                a = first + r * len(xs) + c
                below = a + len(xs)
                if group != "hole":
                    lines.append(f"g {group}\nf {a}/1 {below}/2 {below + 1}/3 {a + 1}/1")

    xs, ys = np.linspace(-0.72, 0.72, 37), np.linspace(8.4, 5.7, 68)
    bump = 0.15 * np.exp(-((xs / 0.1) ** 2) - ((ys[:, None] - 7.0) / 0.15) ** 2)
    sheet(xs, ys, 1.5 - 0.8 * xs**2 + bump, None)
    for sign, name in ((-1, "l"), (1, "r")):
        ex, ey = 0.32 * sign + np.linspace(-0.18, 0.18, 9), 7.3 + np.linspace(0.18, -0.18, 9)
        away = np.hypot(ex - 0.32 * sign, (ey - 7.3)[:, None])
        sheet(ex, ey, 1.22 + np.sqrt(np.maximum(0.18**2 - away**2, 0)), f"{name}-eye-cornea")
        bx = sign * np.linspace(0.12, 0.62, 8)
        sheet(np.sort(bx), np.array([7.6, 7.5]), np.full((2, 8), 1.45), f"{name}-eye-eyebrown")
    sheet(np.array([-0.05, 0.05]), np.array([7.0, 6.9]), np.full((2, 2), 0.2), "joint-head")
    text = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertices]
    text += ["vt 0 0", "vt 1 0", "vt 0.5 1", *lines]
    (root / "base.obj").write_text("\n".join(text))

    points = np.array(vertices)

    def target(path: str, moved: np.ndarray, delta: tuple[float, float, float]) -> None:
        file = root / "targets" / f"{path}.target"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            "# made up\n" + "\n".join(f"{i} {delta[0]} {delta[1]} {delta[2]}" for i in moved)
        )

    jaw, nose = np.flatnonzero(points[:, 1] < 6.56), np.flatnonzero(bump.ravel() > 0.05)
    target("macrodetails/neutral-male-young", jaw, (0, -0.1, 0))
    target("macrodetails/neutral-female-young", jaw, (0, 0.0, 0))
    target("macrodetails/universal-male-young-heavy", jaw, (0, 0, 0.1))
    target("nose/caucasian/male_young/nose-hump", nose, (0, 0, 0.2))
    target("nose/caucasian/female_young/nose-hump", nose, (0, 0, 0.2))
    target("expression/units/caucasian/male_young/mouth-open", jaw, (0, -0.2, 0))
    left = np.flatnonzero((points[:, 0] < 0) & (points[:, 1] > 7.35) & (points[:, 1] < 7.45))
    target("expression/units/caucasian/male_young/eye-left-closure", left, (0, -0.1, 0))
    target("hands/caucasian/male_young/fingers", jaw, (1, 1, 1))
    return root


def test_the_recipe_learns_saves_and_describes(folder: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("head_model", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    command = [str(folder), str(tmp_path), "--people", "40", "--components", "5"]
    result = CliRunner().invoke(recipe.main, command, catch_exceptions=False)
    assert result.exit_code == 0
    heads = load_heads(tmp_path)
    # Nose height, jaw and weight are all there is to learn.
    assert len(heads.components) <= 5
    assert heads.facts["variance_explained"] > 0.99
    assert set(heads.units) == {"mouth-open", "eye-right-closure"}
    card = (tmp_path / "card.md").read_text()
    assert "CC0 1.0" in card
    assert f"{len(heads.neutral)} vertices" in card


def test_names_are_the_subjects_and_helpers_are_left_out(folder: Path) -> None:
    heads = learn_heads(folder, people=30, components=4)
    assert {PARTS[k] for k in np.unique(heads.part)} == {
        "skin", "nose", "u_lip", "l_lip", "l_lid", "r_lid", "l_eye", "r_eye", "neck", "scalp",
    }  # fmt: skip
    assert heads.neutral[heads.vertices_of("l_eye"), 0].min() > 0
    blink = np.flatnonzero(np.abs(heads.units["eye-right-closure"]).max(axis=1) > 0)
    assert heads.neutral[blink, 0].max() < 0


def test_the_same_seed_learns_the_same_head(folder: Path) -> None:
    first, second = (learn_heads(folder, people=20, components=3, seed=4) for _ in range(2))
    assert first.neutral.tobytes() == second.neutral.tobytes()
    assert first.components.tobytes() == second.components.tobytes()


def test_a_makehuman_folder_replaces_the_built_in_head(folder: Path) -> None:
    heads = load_heads(folder)
    params = heads.sample(np.random.default_rng(0))
    assert heads.mesh(params).vertices.shape == heads.neutral.shape
    assert heads.landmarks(heads.vertices(params))[98].shape == (98, 3)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"base\.obj was not found"):
        learn_heads(tmp_path)
    (tmp_path / "base.obj").write_text("v 0 0 0\n")
    with pytest.raises(DataError, match="an OBJ file with faces was expected"):
        learn_heads(tmp_path)
    (tmp_path / "base.obj").write_bytes((folder / "base.obj").read_bytes())
    with pytest.raises(DataError, match=r"targets_head\.tar\.xz or a folder `targets`"):
        learn_heads(tmp_path)


def test_ages_share_out_between_the_drawn_ones() -> None:
    child, young, old = age_shares(np.array([5.0, 10.0, 25.0, 47.5, 90.0]))
    np.testing.assert_allclose(child, [1, 1, 0, 0, 0])
    np.testing.assert_allclose(young, [0, 0, 1, 0.5, 0])
    np.testing.assert_allclose(old, [0, 0, 0, 0.5, 1])


@pytest.mark.parametrize(
    ("group", "x", "part"),
    [
        ("l-eye-cornea", -0.3, "r_eye"),
        ("r-ear-lobe", 0.8, "l_ear"),
        ("mouth-upper-middle-li", 0.0, "u_lip"),
        ("l-eye-upper-middle-li", -0.3, "r_lid"),
        ("nose-philtrum", 0.0, "skin"),
        ("l-teeth-low-sec-molar", 0.2, None),
        ("helper-tights", 0.0, None),
        ("l-hand-palm", -6.0, None),
    ],
)
def test_groups_become_parts(group: str, x: float, part: str | None) -> None:
    assert part_of_group(group, x) == part
