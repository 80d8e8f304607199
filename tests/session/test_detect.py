"""Detection at several sizes and in tiles, with a finder that knows a coloured disc for a face."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pentimento.session.detect import MOST, _factors, detect
from pentimento.structures import Boxes


class DiscFinder:
    """Sees red discs of 10 to 150 pixels, all of them; a cut one with a lower score."""

    def __init__(self) -> None:
        self.looked: list[tuple[int, int]] = []

    def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
        self.looked.append(image.shape[:2])
        red = ((image[..., 0] > 150) & (image[..., 1] < 110)).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(red)
        boxes, scores = [], []
        for x, y, w, h, area in stats[1:]:
            if 10 <= np.sqrt(w * h) <= 150:
                boxes.append([x, y, x + w, y + h])
                scores.append(0.99 * min(1.0, area / (0.785 * w * h)))
        rows = np.array(boxes, np.float32).reshape(-1, 4)
        kept = np.array(scores, np.float32) >= threshold
        rows = rows[kept]
        middle = (rows[:, None, :2] + rows[:, None, 2:]) / 2
        points = middle + np.zeros((1, 5, 1), np.float32)
        return SimpleNamespace(
            boxes=Boxes(rows, np.array(scores, np.float32)[kept]), points=points,
            vertices=np.concatenate([rows[:, :2], rows[:, 2:] - rows[:, :2]], 1)[:, None, :3],
        )  # fmt: skip


def discs(height: int, width: int, *circles: tuple[int, int, int]) -> np.ndarray:
    image = np.full((height, width, 3), 200, np.uint8)
    for x, y, radius in circles:
        cv2.circle(image, (x, y), radius, (230, 20, 20), -1)
    return image


@pytest.mark.parametrize(
    ("height", "width", "circle"),
    [
        (480, 640, (300, 200, 8)),
        (480, 640, (320, 240, 180)),
        (2000, 3000, (1500, 900, 9)),
        (2000, 3000, (1500, 900, 60)),
        (2000, 3000, (1500, 1000, 800)),
        (60, 40, (20, 30, 12)),
        (120, 2500, (1800, 60, 30)),
    ],
)
def test_a_face_of_any_size_is_found_once_in_a_photo_of_any_size(height, width, circle):
    x, y, radius = circle
    (face,) = detect(discs(height, width, circle), DiscFinder())
    wanted = np.array([x - radius, y - radius, x + radius, y + radius])
    assert np.abs(face.box - wanted).max() < 2 + 0.1 * radius
    np.testing.assert_allclose(face.points[2], [x, y], atol=2 + 0.1 * radius)
    # Its vertex is the upper left corner; its depth, a length, is the width.
    wanted = [x - radius, y - radius, 2 * radius]
    np.testing.assert_allclose(face.vertices[0], wanted, atol=4 + 0.2 * radius)


@settings(max_examples=25, deadline=None)
@given(
    long=st.integers(200, 6000),
    narrow=st.floats(0.4, 1),
    upright=st.booleans(),
    share=st.floats(0, 1),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_faces_from_16_pixels_to_nearly_the_whole_frame_are_found_once(
    long: int, narrow: float, upright: bool, share: float, place: tuple[float, float]
):
    shape = np.array([long, round(narrow * long)])[:: -1 if upright else 1]  # width, height
    radius = round(8 * (0.37 * shape.min() / 8) ** share)  # even in the logarithm
    room = radius + long / 40  # what touches the border is smeared into the rim
    x, y = np.rint(room + np.array(place) * (shape - 2 * room)).astype(int).tolist()
    (face,) = detect(discs(*shape[::-1].tolist(), (x, y, radius)), DiscFinder())
    wanted = np.array([x - radius, y - radius, x + radius, y + radius])
    assert np.abs(face.box - wanted).max() < 2 + 0.12 * radius


def test_no_photo_is_looked_at_twice_at_nearly_the_same_size():
    for long in range(200, 6001, 200):
        factors = np.array([192 / long, *_factors(long)])
        assert factors[-1] == 1
        ratios = factors[1:] / factors[:-1]
        assert ratios.max() < 4.001
        np.testing.assert_allclose(ratios, ratios[0])
        assert len(ratios) == 1 or ratios.min() > 2


def test_a_finder_that_sees_faces_everywhere_comes_to_an_end():
    class Everywhere(DiscFinder):
        """Answers 750 boxes wherever it looks, as a finder that has learnt nothing."""

        def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
            rng = np.random.default_rng(len(self.looked))
            self.looked.append(image.shape[:2])
            low = rng.uniform(0, np.array(image.shape[1::-1]) - 12, (750, 2))
            rows = np.concatenate([low, low + rng.uniform(8, 40, (750, 2))], 1)
            return SimpleNamespace(
                boxes=Boxes(rows.astype(np.float32), rng.uniform(0.5, 1, 750).astype(np.float32)),
                points=np.repeat(rows[:, None, :2], 5, 1),
                vertices=np.zeros((750, 0, 3)),
            )

    finder = Everywhere()
    found = detect(discs(3000, 4000), finder)
    assert len(finder.looked) * 750 > 10_000
    assert len(found) == MOST
    # The surest are told: of ten thousand between 0.5 and 1, none below the first five thousand.
    assert min(face.score for face in found) > 0.7


def test_faces_on_the_edges_of_tiles_are_found_once_and_whole():
    finder = DiscFinder()
    picture = discs(2100, 2100)
    tiles = [(side, side) for side in range(600, 1600, 20)]
    for x, y in tiles[::4]:
        cv2.circle(picture, (x, y), 15, (230, 20, 20), -1)
    found = detect(picture, finder)
    assert len(found) == len(tiles[::4])
    assert all(26 < face.size < 36 for face in found)


def test_a_face_that_fills_the_photo_is_seen_within_a_rim():
    picture = discs(300, 260, (130, 150, 190))  # reaches beyond every border
    assert len(detect(picture, DiscFinder())) <= 1
    finder = DiscFinder()
    detect(picture, finder)
    assert finder.looked[0][0] > finder.looked[0][1] * 1.05
    assert finder.looked[0] == (288, 262)  # 192 x 166 and a rim of 48 pixels on every side


def test_the_largest_comes_first_and_the_threshold_counts():
    picture = discs(400, 600, (100, 100, 20), (350, 200, 60), (520, 300, 10))
    sizes = [face.size for face in detect(picture, DiscFinder())]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 3
    assert detect(picture, DiscFinder(), 1.0) == []


def test_a_part_of_a_face_is_not_a_second_face():
    class WithAnEye(DiscFinder):
        def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
            found = super().predict(image, threshold=threshold)
            if not len(found.boxes):
                return found
            left, top, right, bottom = found.boxes.xyxy[0]
            eye = [left + 2, top + 2, left + 0.3 * (right - left), top + 0.3 * (bottom - top)]
            rows = np.array([*found.boxes.xyxy, eye], np.float32)
            scores = np.array([*found.boxes.scores, 0.8], np.float32)
            points = np.concatenate([found.points, found.points[:1]])
            vertices = np.concatenate([found.vertices, found.vertices[:1]])
            return SimpleNamespace(boxes=Boxes(rows, scores), points=points, vertices=vertices)

    assert len(detect(discs(200, 200, (100, 100, 60)), WithAnEye())) == 1


def test_a_photo_without_faces_and_a_dot_of_a_photo():
    assert detect(discs(30, 50), DiscFinder()) == []
    assert detect(np.zeros((1, 1, 3), np.uint8), DiscFinder()) == []


def test_a_small_photo_is_enlarged_for_its_smallest_faces_and_a_large_one_is_not():
    tiny = (300, 200, 3)  # seven pixels: too small for the finder until it is enlarged
    (face,) = detect(discs(384, 512, tiny), DiscFinder())
    np.testing.assert_allclose(face.box, [297, 197, 304, 204], atol=1)
    finder = DiscFinder()
    assert detect(discs(1200, 1600, (300, 200, 3)), finder) == []
    assert max(max(shape) for shape in finder.looked) <= 1024
    # What is large at the photo's own size is not asked for again: its enlargement adds nothing.
    (face,) = detect(discs(384, 512, (250, 200, 60)), DiscFinder())
    np.testing.assert_allclose(face.box, [190, 140, 311, 261], atol=4)


def test_a_face_seen_twice_is_where_it_was_seen_on_average():
    class Wavering(DiscFinder):
        """Misplaces what it sees in every second picture."""

        def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
            found = super().predict(image, threshold=threshold)
            shift = np.float32(8 * (len(self.looked) % 2))
            rows = found.boxes.xyxy + shift
            return SimpleNamespace(
                boxes=Boxes(rows, found.boxes.scores), points=found.points + shift,
                vertices=found.vertices,
            )  # fmt: skip

    (steady,) = detect(discs(192, 300, (150, 90, 40)), DiscFinder())
    (face,) = detect(discs(192, 300, (150, 90, 40)), Wavering())
    moved = face.points[2] - steady.points[2]
    assert (moved > 2).all()
    assert (moved < 11).all()
    np.testing.assert_allclose(face.box - steady.box, np.tile(moved, 2), atol=0.5)
