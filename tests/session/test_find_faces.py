import numpy as np
import pytest
from skimage import data
from stand_in import ColourParser, draw, points

from pentimento.errors import FaceError
from pentimento.session.detect import detect
from pentimento.session.faces import (
    LARGEST,
    Where,
    aligned_face,
    choose_face,
    face_from_box,
    face_from_points,
    find_faces,
    settle,
)
from pentimento.session.models import load_finder


def test_three_points_give_the_ffhq_square():
    face = face_from_points([(70, 100), (130, 100), (100, 170)])
    np.testing.assert_allclose(face.quad, [[-26, -19], [-26, 233], [226, 233], [226, -19]])


def test_eyes_may_come_in_either_order_even_upside_down():
    a = face_from_points([(130, 100), (70, 100), (100, 170)])
    b = face_from_points([(70, 100), (130, 100), (100, 170)])
    np.testing.assert_allclose(a.quad, b.quad)
    turned = face_from_points([(70, 100), (130, 100), (100, 30)])
    assert turned.quad[0, 1] > turned.quad[1, 1]  # its top-left corner lies below


def test_five_points_take_the_middle_of_the_mouth_corners():
    five = face_from_points([(70, 100), (130, 100), (100, 140), (80, 170), (120, 170)])
    three = face_from_points([(70, 100), (130, 100), (100, 170)])
    np.testing.assert_allclose(five.quad, three.quad)


@pytest.mark.parametrize("bad", [[(1, 2)], [(1, 2)] * 3, [(1, 2), (50, 2), (np.nan, 9)], []])
def test_points_that_mark_no_face_are_refused(bad: list):
    with pytest.raises(FaceError):
        face_from_points(bad)


@pytest.mark.parametrize("bad", [(5, 5, 5, 9), (9, 5, 5, 9), (1, 2, 3)])
def test_empty_boxes_are_refused(bad: tuple):
    with pytest.raises(FaceError, match="left,top,right,bottom"):
        face_from_box(bad)


def test_the_bundled_finder_sees_the_astronaut_and_her_alone():
    (face,) = detect(data.astronaut(), load_finder())
    x, y = (face.box[:2] + face.box[2:]) / 2
    assert 200 < x < 250
    assert 90 < y < 160
    eyes, mouth = face.points[:2], face.points[3:]
    assert eyes[0, 0] < eyes[1, 0]
    assert eyes[:, 1].max() < mouth[:, 1].min()
    assert face.score > 0.5


def test_a_drawn_portrait_is_found_where_it_was_drawn():
    picture = draw(420, 420)
    (face,) = find_faces(picture, ColourParser())
    wanted = face_from_points(points(420, 420))
    assert np.abs(face.quad - wanted.quad).max() < 0.03 * wanted.side
    assert face.score > 0.7


@pytest.mark.parametrize("shift", [(-9, 7), (12, -14), (0, 20)])
def test_settling_ends_in_the_same_frame_from_any_loose_square(shift: tuple[int, int]):
    picture = draw(500, 400, (260, 180), 80)
    wanted = face_from_points(points(500, 400, (260, 180), 80))
    found = settle(picture, ColourParser(), wanted.quad * 1.04 + shift)
    assert found is not None
    assert np.abs(found.quad - wanted.quad).max() < 0.02 * wanted.side


def test_a_picture_without_a_face_says_how_to_point():
    grass = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    with pytest.raises(FaceError, match=r"meadow\.jpg: no face found.*--points.*--box.*--aligned"):
        choose_face(grass, ColourParser(), LARGEST, "meadow.jpg")


def test_asking_for_more_faces_than_there_are_says_how_many_were_found():
    with pytest.raises(FaceError, match="face 7 was asked for, but 1 face was found"):
        choose_face(draw(300, 300), ColourParser(), Where(index=7), "one.jpg")


def test_tiny_pictures_are_looked_at_and_refused_kindly():
    for size in ((1, 1), (3, 40), (20, 20)):
        with pytest.raises(FaceError):
            choose_face(np.zeros((*size, 3), np.uint8), ColourParser(), LARGEST, "dot.png")


def test_a_box_is_refined_by_the_parser():
    picture = draw(600, 500, (300, 220), 90)
    face = choose_face(picture, ColourParser(), Where(box=(215, 150, 395, 330)), "p")
    wanted = face_from_points(points(600, 500, (300, 220), 90))
    assert np.abs(face.quad - wanted.quad).max() < 0.03 * wanted.side


def test_a_box_is_believed_where_the_parser_sees_nothing():
    face = choose_face(
        np.zeros((99, 99, 3), np.uint8), ColourParser(), Where(box=(9, 9, 60, 60)), "p"
    )
    assert face.score == 0
    np.testing.assert_allclose(face.quad, face_from_box((9, 9, 60, 60)).quad)


def test_a_face_outside_the_picture_is_refused():
    where = Where(points=((900, 900), (950, 900), (925, 950)))
    with pytest.raises(FaceError, match="outside the picture of 99x99"):
        choose_face(np.zeros((99, 99, 3), np.uint8), ColourParser(), where, "p")


def test_aligned_means_the_largest_centred_square():
    np.testing.assert_allclose(aligned_face(60, 100).quad[[0, 2]], [[20, 0], [80, 60]])


@pytest.mark.parametrize(
    "contradiction",
    [{"points": ((1, 2),), "aligned": True}, {"box": (1, 2, 3, 4), "aligned": True}, {"index": 0}],
)
def test_contradictions_are_refused(contradiction: dict):
    with pytest.raises(FaceError):
        Where(**contradiction)
