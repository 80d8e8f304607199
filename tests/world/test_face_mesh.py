"""The mesh of a face: the same places on every head, in pairs, where the picture shows them."""

import numpy as np
import pytest

from pentimento.world.face_mesh import VERTICES, face_mesh, in_pixels
from pentimento.world.heads import load_heads
from pentimento.world.portraits import portrait
from pentimento.world.scenes import scene


def test_vertices_come_in_pairs_on_both_sides_of_a_middle_line():
    heads = load_heads()
    mesh = heads.face
    points = heads.neutral[mesh.vertices[:VERTICES]]
    assert len(np.unique(mesh.vertices)) == len(mesh.vertices) > VERTICES
    np.testing.assert_array_equal(mesh.mirror[mesh.mirror], np.arange(VERTICES))
    np.testing.assert_allclose(points[mesh.mirror] * [-1, 1, 1], points, atol=0.01)  # dm
    middle = mesh.mirror == np.arange(VERTICES)
    assert 10 < middle.sum() < 40
    nose = heads.landmarks(heads.neutral)[5][2]
    assert np.linalg.norm(points[0] - nose) < 0.1  # the first is the tip of the nose


def test_edges_are_short_and_reach_every_vertex():
    heads = load_heads()
    mesh = heads.face
    points = heads.neutral[mesh.vertices[:VERTICES]]
    assert set(mesh.edges.ravel()) == set(range(VERTICES))
    assert len(np.unique(np.sort(mesh.edges, 1), axis=0)) == len(mesh.edges)
    ends = points[mesh.edges]
    assert np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).max() < 0.5  # dm


def test_a_head_too_coarse_is_refused():
    heads = load_heads()
    with pytest.raises(ValueError, match="300 vertices in pairs"):
        face_mesh(heads.neutral, heads.triangles, heads.vertices_of("nose"))


def test_depth_is_in_pixels_about_the_middle():
    seen = in_pixels(np.array([[3.0, 4, 9], [5, 6, 11]]), 50)
    np.testing.assert_allclose(seen, [[3, 4, -5], [5, 6, 5]])


def test_a_portrait_s_vertices_lie_on_its_face():
    made = portrait(3, 96)
    xyz, visible = made.vertices.xyz, made.vertices.visible
    assert xyz.shape == (VERTICES, 3)
    left, top, right, bottom = made.box.xyxy[0]
    assert (xyz[:, :2] >= [left - 0.01, top - 0.01]).all()
    assert (xyz[:, :2] <= [right + 0.01, bottom + 0.01]).all()
    np.testing.assert_allclose(xyz[0, :2], made.landmarks[5].xy[2], atol=0.05 * (right - left))
    assert xyz[0, 2] <= np.quantile(xyz[:, 2], 0.03) < 0  # the nose is among the nearest
    assert abs(xyz[:, 2].mean()) < 1e-3
    # What is visible is not background: the label map shows a person there.
    column, row = np.floor(xyz[visible, :2]).astype(int).clip(0, 95).T
    assert visible.mean() > 0.5
    assert (made.labels.values[row, column] > 0).mean() > 0.97


def test_faces_of_a_scene_have_vertices_hidden_where_the_face_is():
    faces = [s.face for seed in range(6) for s in scene(seed, 96).segments if s.face]
    shares = np.array([[face.visible, face.vertices.visible.mean()] for face in faces])
    seen = shares[:, 0] > 0.6
    assert seen.any()
    assert shares[seen, 1].min() > 0.2
    assert (shares[~seen & (shares[:, 0] == 0), 1] < 0.3).all()
    for face in faces:
        if face.visible > 0.6:
            edges = np.array(face.box)
            assert (face.vertices.xyz[:, :2] >= edges[:2] - 0.01).all()
            assert (face.vertices.xyz[:, :2] <= edges[2:] + 0.01).all()
