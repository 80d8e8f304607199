import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pentimento.data.augment import augment, mirror, mirror_table, move, new_background, occlude
from pentimento.data.faces import FaceSample
from pentimento.labels import BISENET19, CELEBAMASK19, HELEN11, IGNORE, LabelSet


def face(size: int = 32) -> FaceSample:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    return FaceSample(image, rng.integers(0, 19, (size, size)).astype(np.uint8), "someone")


@pytest.mark.parametrize("labels", [CELEBAMASK19, HELEN11, BISENET19])
def test_mirror_table_swaps_exactly_the_sides(labels: LabelSet) -> None:
    table = mirror_table(labels)
    swapped = {
        labels.classes[i]: labels.classes[table[i]] for i in range(len(labels)) if table[i] != i
    }
    sides = {name for name in labels.classes if name[2:] in ("eye", "brow", "ear")}
    assert set(swapped) == sides
    assert swapped["l_eye"] == "r_eye"
    assert (table[table] == np.arange(256)).all()
    assert table[IGNORE] == IGNORE


def test_mirroring_swaps_the_subjects_sides() -> None:
    labels = np.zeros((4, 4), np.uint8)
    labels[1, 3] = CELEBAMASK19.value("l_eye")  # the subject's left is on the picture's right
    labels[3, 0] = CELEBAMASK19.value("l_lip")  # the lower lip, which has no side
    image = np.zeros((4, 4, 3), np.uint8)
    image[1, 3] = 9
    turned = mirror(FaceSample(image, labels, "someone"))
    assert turned.labels[1, 0] == CELEBAMASK19.value("r_eye")
    assert turned.labels[3, 3] == CELEBAMASK19.value("l_lip")
    assert (turned.image[1, 0] == 9).all()
    back = mirror(turned)
    assert (back.labels == labels).all()
    assert (back.image == image).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_augmented_faces_keep_shape_and_known_classes(seed: int) -> None:
    sample = face()
    before = sample.labels.copy()
    result = augment(sample, np.random.default_rng(seed))
    assert (result.image.dtype, result.image.shape) == (np.uint8, (32, 32, 3))
    assert set(np.unique(result.labels)) <= {*range(19), IGNORE}
    assert (sample.labels == before).all()
    again = augment(sample, np.random.default_rng(seed))
    assert (again.image == result.image).all()
    assert (again.labels == result.labels).all()


def test_picture_and_labels_move_together() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[20:44, 20:44] = 1
    sample = FaceSample(np.repeat(labels[..., None] * 255, 3, 2), labels, "someone")
    for seed in range(20):
        moved = move(sample, np.random.default_rng(seed))
        known = moved.labels != IGNORE
        inside = moved.image[..., 0] > 127
        # Linear and nearest sampling may disagree along the outline only.
        assert ((moved.labels == 1) != inside)[known].mean() < 0.04


def test_what_comes_in_from_outside_has_no_label_or_is_a_flat_frame() -> None:
    sample = FaceSample(np.full((32, 32, 3), 7, np.uint8), np.ones((32, 32), np.uint8), "someone")
    seen = set()
    for seed in range(60):
        moved = move(sample, np.random.default_rng(seed))
        outside = moved.labels != 1
        seen |= set(np.unique(moved.labels[outside]))
    assert seen == {0, IGNORE}


def test_a_new_background_leaves_the_head_alone() -> None:
    labels = np.zeros((32, 32), np.uint8)
    labels[8:24, 8:24] = 1
    sample = FaceSample(np.full((32, 32, 3), 90, np.uint8), labels, "someone")
    result = new_background(sample, np.random.default_rng(0))
    assert (result.labels == labels).all()
    assert (result.image[labels == 1] == 90).all()
    assert (result.image[labels == 0] != 90).mean() > 0.8


def test_behind_an_occluder_nothing_is_known() -> None:
    sample = face(64)
    for seed in range(10):
        result = occlude(sample, np.random.default_rng(seed))
        hidden = result.labels == IGNORE
        assert (result.image[~hidden] == sample.image[~hidden]).all()
        assert (result.labels[~hidden] == sample.labels[~hidden]).all()
