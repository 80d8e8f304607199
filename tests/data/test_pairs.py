"""The two domains in every folder that users have, and their transforms."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pentimento.data.faces import split_of
from pentimento.data.pairs import Pairs, open_pairs
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19

RNG = np.random.default_rng(0)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def flat(value: int, side: int = 12, dtype: type = np.uint8) -> np.ndarray:
    return np.full((side, side, 3), value, dtype)


def opened(folder: Path | str, split: str = "train", **options: object) -> Pairs:
    given = {"load_size": 8, "size": 8, "channels": (3, 3), "paired": True} | options
    return open_pairs(str(folder), split, **given)


def values(data: Pairs) -> list[tuple[int, int]]:
    draws = [data.sample(n, np.random.default_rng(n)) for n in range(len(data))]
    return [(int(draw.a.flat[0]), int(draw.b.flat[0])) for draw in draws]


def test_side_by_side_files_are_split_in_the_middle(tmp_path: Path) -> None:
    for phase, start in (("train", 0), ("val", 100)):
        for n in range(3):
            both = np.hstack([flat(start + n), flat(start + 50 + n)])
            write(tmp_path / phase / f"{n}.png", both)
    assert values(opened(tmp_path)) == [(0, 50), (1, 51), (2, 52)]
    assert values(opened(tmp_path, "val")) == [(100, 150), (101, 151), (102, 152)]


def test_test_stands_in_for_val_and_without_both_names_decide(tmp_path: Path) -> None:
    for n in range(40):
        write(tmp_path / "some" / "train" / f"{n}.png", np.hstack([flat(n), flat(n)]))
    split = {n: split_of(str(n)) for n in range(40)}
    for side in ("train", "val"):
        found = {a for a, _ in values(opened(tmp_path / "some", side))}
        assert found == {n for n, its in split.items() if its == side}
    write(tmp_path / "some" / "test" / "a.png", np.hstack([flat(200), flat(201)]))
    assert values(opened(tmp_path / "some", "val")) == [(200, 201)]
    assert len(opened(tmp_path / "some")) == 40


@pytest.mark.parametrize("ends", [("A", "B"), ("_A", "_B")])
def test_unpaired_domains_have_their_own_lengths(tmp_path: Path, ends: tuple[str, str]) -> None:
    for n in range(5):
        write(tmp_path / f"train{ends[0]}" / f"a{n}.png", flat(n))
    for n in range(2):
        write(tmp_path / f"train{ends[1]}" / f"b{n}.png", flat(100 + n))
        write(tmp_path / f"test{ends[0]}" / f"c{n}.png", flat(50 + n))
        write(tmp_path / f"test{ends[1]}" / f"d{n}.png", flat(150 + n))
    data = opened(tmp_path, paired=False)
    assert len(data) == 5
    assert [a for a, _ in values(data)] == [0, 1, 2, 3, 4]
    partners = {data.sample(0, np.random.default_rng(n)).b.flat[0] for n in range(20)}
    assert partners == {100, 101}
    assert values(opened(tmp_path, "val", paired=False)) == [(50, 150), (51, 151)]
    with pytest.raises(DataError, match=r"a0.*7 in all.*cyclegan"):
        opened(tmp_path)


def test_plain_folders_pair_by_stem_whatever_the_ending(tmp_path: Path) -> None:
    names = [n for n in range(60) if split_of(str(n)) == "train"][:4]
    for n in names:
        write(tmp_path / "A" / f"{n}.png", flat(n))
        write(tmp_path / "B" / f"{n}.tif", flat(100 + n))
    wanted = [(n, 100 + n) for n in sorted(names, key=str)]
    assert values(opened(tmp_path)) == wanted
    assert values(opened(f"{tmp_path / 'A'},{tmp_path / 'B'}")) == wanted


def test_label_folders_hold_classes(tmp_path: Path) -> None:
    write(tmp_path / "train_label" / "x.png", np.full((12, 12), 7, np.uint8))
    write(tmp_path / "train_img" / "x.jpg", flat(90))
    write(tmp_path / "test_label" / "y.png", np.full((12, 12), 3, np.uint8))
    write(tmp_path / "test_img" / "y.jpg", flat(91))
    sample = opened(tmp_path, channels=(8, 3)).sample(0, RNG)
    assert sample.a.shape == (8, 8)
    assert set(sample.a.flat) == {7}
    assert sample.b.shape == (8, 8, 3)
    with pytest.raises(DataError, match=r"x\.png: classes \[7\]"):
        opened(tmp_path, channels=(7, 3)).sample(0, RNG)


def test_deep_and_grey_pictures_keep_their_depth(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.png", np.hstack([flat(1000, dtype=np.uint16)] * 2))
    write(tmp_path / "val" / "a.png", np.hstack([flat(9), flat(200)])[..., 0])
    deep = opened(tmp_path, channels=(1, 3)).sample(0, RNG)
    assert (deep.a.dtype, deep.a.shape, deep.b.shape) == (np.uint16, (8, 8, 1), (8, 8, 3))
    assert set(deep.b.flat) == {1000}
    grey = opened(tmp_path, "val").sample(0, RNG)
    assert (grey.a.dtype, grey.a.shape) == (np.uint8, (8, 8, 3))
    assert (set(grey.a.flat), set(grey.b.flat)) == ({9}, {200})


def test_partners_are_cut_and_mirrored_alike(tmp_path: Path) -> None:
    noise = RNG.integers(0, 256, (24, 24, 3), np.uint8)
    write(tmp_path / "train" / "a.png", np.hstack([noise, noise]))
    data = opened(tmp_path, load_size=24, size=16)
    cuts = [data.sample(0, np.random.default_rng(n)) for n in range(12)]
    assert all(np.array_equal(cut.a, cut.b) for cut in cuts)
    assert len({cut.a.tobytes() for cut in cuts}) > 8
    corners = {
        each[y : y + 16, x : x + 16].tobytes()
        for each in (noise[..., ::-1], noise[:, ::-1, ::-1])
        for y in range(9)
        for x in range(9)
    }
    assert all(cut.a.tobytes() in corners for cut in cuts)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    labels = np.zeros((16, 16), np.uint8)
    labels[:, :8] = CELEBAMASK19.value("l_eye")
    image = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    for person in range(20):
        write(tmp_path / "labels" / f"{person}.png", labels)
        write(tmp_path / "images" / f"{person}.png", image)
    return tmp_path


def test_faces_become_each_task(faces: Path) -> None:
    eye = CELEBAMASK19.colours[CELEBAMASK19.value("l_eye")]
    options = {"load_size": 16, "size": 16}
    coloured = opened(faces, "val", **options).sample(0, RNG)
    assert tuple(coloured.a[0, 0]) == eye
    classes = opened(faces, "val", channels=(19, 3), **options).sample(0, RNG)
    assert classes.a.shape == (16, 16)
    edges = opened(f"{faces}:edges2portrait", "val", channels=(1, 3), **options).sample(0, RNG)
    assert set(edges.a.flat) <= {0, 255}
    grey = opened(f"{faces}:grey2portrait", "val", channels=(1, 3), **options).sample(0, RNG)
    assert np.array_equal(grey.b, coloured.b)
    assert np.abs(grey.a[..., 0] - grey.b.mean(2)).mean() < 30


def test_channels_that_no_face_can_be_shown_in_are_refused_at_once(faces: Path) -> None:
    with pytest.raises(DataError, match=r"labels can be shown in 1 or 3 or 19 channels, not in 5"):
        opened(faces, channels=(5, 3))
    with pytest.raises(DataError, match="portrait can be shown in 1 or 3 channels"):
        opened(faces, channels=(19, 4))


def test_a_mirrored_face_swaps_the_subjects_left_and_right(faces: Path) -> None:
    data = opened(faces, channels=(19, 3), load_size=16, size=16)
    draws = [data.sample(0, np.random.default_rng(n)).a for n in range(10)]
    upright = [draw for draw in draws if draw[0, -1] == 0]
    turned = [draw for draw in draws if draw[0, 0] == 0]
    assert upright
    assert turned
    assert len(upright) + len(turned) == 10
    assert upright[0][0, 0] == CELEBAMASK19.value("l_eye")
    assert turned[0][0, -1] == CELEBAMASK19.value("r_eye")


def test_what_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="train"):
        opened(tmp_path)
    write(tmp_path / "train" / "thin.png", np.zeros((9, 1, 3), np.uint8))
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"thin\.png.*side by side"):
        opened(tmp_path).sample(0, RNG)
    with pytest.raises(DataError, match=r"cut\.png"):
        opened(tmp_path, "val").sample(0, RNG)
    with pytest.raises(DataError, match="no such folder"):
        opened(tmp_path / "absent")
