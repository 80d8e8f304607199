import numpy as np
import pytest

from pentimento.labels import CELEBAMASK19
from pentimento.world.mesh import (
    CLASS_OF_PART,
    PARTS,
    Mesh,
    clip,
    grid_triangles,
    make_mesh,
    merge,
    part_index,
    sphere,
    tube,
    vertex_normals,
)


def square(part: str = "skin") -> Mesh:
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    return make_mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]), corners[:, :2], part)


def area(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_every_part_maps_to_the_class_people_expect() -> None:
    classes = dict(zip(PARTS, (CELEBAMASK19.classes[k] for k in CLASS_OF_PART), strict=True))
    assert classes["teeth"] == "mouth"
    assert classes["lens"] == "eye_g"
    assert classes["l_ear"] == "l_ear"
    assert classes["earring"] == "ear_r"
    assert classes["necklace"] == "neck_l"
    drawn = set(classes.values()) | {"background", "l_brow", "r_brow"}  # brows are painted on
    assert drawn == set(CELEBAMASK19.classes)


def test_merge_keeps_positions_and_parts() -> None:
    both = merge([square("skin"), square("hair").moved(square().vertices + 5)])
    assert both.vertices[both.triangles[2]].min() == 5
    assert [PARTS[p] for p in both.part] == ["skin", "skin", "hair", "hair"]


def test_select_drops_unused_vertices() -> None:
    one = square().select(np.array([True, False]))
    assert one.vertices.shape == (3, 3)
    np.testing.assert_array_equal(one.vertices[one.triangles[0], 0], [0, 1, 1])


@pytest.mark.parametrize("height", [0.1, 0.5, 0.75])
def test_clip_cuts_along_the_zero_line(height: float) -> None:
    mesh = square()
    cut = clip(mesh, mesh.vertices[:, 1] - np.float32(height))
    assert cut.vertices[:, 1].min() == pytest.approx(height)
    assert area(cut) == pytest.approx(1 - height, rel=1e-5)
    np.testing.assert_allclose(cut.uv, cut.vertices[cut.triangles][..., :2], atol=1e-6)
    assert (vertex_normals(cut.vertices, cut.triangles)[:, 2] > 0.99).all()


def test_normals_of_a_sphere_point_outwards() -> None:
    ball = sphere(np.zeros(3), 2.0, "earring")
    normals = vertex_normals(ball.vertices, ball.triangles)
    assert (np.einsum("vi,vi->v", normals, ball.vertices)[10:-10] > 1.8).all()


def test_a_closed_tube_faces_outwards() -> None:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    path = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    ring = tube(path, 0.1, "necklace", closed=True)
    normals = vertex_normals(ring.vertices, ring.triangles)
    heart = ring.vertices / np.linalg.norm(ring.vertices[:, :2], axis=1, keepdims=True)
    heart[:, 2] = 0
    outward = ring.vertices - heart
    inner = slice(6, -6)  # the seam's vertices are doubled and see only one side
    assert (np.einsum("vi,vi->v", normals, outward)[inner] > 0).all()


def test_grid_faces_the_viewer_when_rows_run_down() -> None:
    y, x = np.mgrid[0:3, 0:4]
    points = np.stack([x, -y, 0 * x], axis=-1).reshape(-1, 3).astype(np.float32)
    normals = vertex_normals(points, grid_triangles(3, 4))
    np.testing.assert_allclose(normals[:, 2], 1)


def test_a_mesh_of_wrong_types_is_refused() -> None:
    mesh = square()
    with pytest.raises(ValueError, match=r"Mesh\.triangles: expected .* int32"):
        Mesh(mesh.vertices, mesh.triangles.astype(np.int64), mesh.uv, mesh.part)
    with pytest.raises(ValueError, match="not in tuple"):
        part_index("antenna")
