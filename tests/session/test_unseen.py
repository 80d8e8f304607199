"""What is drawn where no picture shows anything, and what is not as its mask says."""

import numpy as np

from pentimento.session.unseen import loose_hair, mouth_inside, shadow_of_hair, white_of


def lens(side: int = 96) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return ((x - 48) / 28) ** 2 + ((y - 50) / 12) ** 2 < 1


def test_a_mouth_has_teeth_above_and_the_dark_below() -> None:
    light = mouth_inside(lens(), 220, 1.0).mean(2)
    assert light[42:46, 40:56].mean() > 120
    assert light[52:57, 40:56].mean() < 90
    assert light[48, 23:26].mean() < 90  # no teeth in the corners
    # Gaps between teeth: a row through them is no plain band.
    assert np.ptp(light[45, 36:60]) > 8


def test_teeth_are_as_bright_as_the_light_is() -> None:
    bright, dim = (mouth_inside(lens(), white, 1.0)[42:46, 40:56].mean() for white in (225, 150))
    assert bright > 1.3 * dim


def test_the_light_is_told_by_the_eyes_then_by_the_skin() -> None:
    image = np.full((40, 40, 3), 100, np.float32)
    eyes, skin = np.zeros((2, 40, 40), np.bool_)
    eyes[5:9, 5:15] = skin[20:30] = True
    image[5:9, 5:8] = 210
    assert white_of(image, eyes, skin) == 210
    assert white_of(image, eyes & False, skin) == 100
    assert 100 < white_of(image, eyes & False, skin & False) < 255


def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a picture of skin below removed hair, with noise; both masks."""
    rng = np.random.default_rng(0)
    image = np.full((120, 120, 3), (205, 160, 140), np.float32)
    image[:30] = (40, 30, 25)
    removed = np.zeros((120, 120), np.bool_)
    removed[:30] = True
    return (image + rng.normal(0, 3, image.shape)).astype(np.float32), ~removed, removed


def test_a_fringe_that_was_taken_for_skin_is_found_and_a_brow_is_not() -> None:
    image, skin, removed = head()
    image[30:40, 50:58] = (60, 45, 40)  # a strand that hangs into the forehead
    image[44:48, 80:100] = (60, 45, 40)  # dark as well, but apart
    found = shadow_of_hair(image, skin, removed, 1.0)
    assert found[30:40, 50:58].mean() > 0.9
    assert not found[42:, :].any()
    assert found.sum() < 400


def test_clean_skin_has_no_shadow() -> None:
    assert not shadow_of_hair(*head(), 1.0).any()


def test_a_lock_that_the_mask_has_missed_is_found_and_a_far_thing_of_its_colour_is_not() -> None:
    image, _, removed = head()
    image[30:] = (120, 150, 190)
    image[30:50, 10:20] = (40, 30, 25)
    image[100:110, 60:70] = (40, 30, 25)
    found = loose_hair(image, ~removed, removed, 1.0)
    assert found[31:48, 11:19].all()
    assert not found[95:].any()
    assert not found[:, 40:].any()
