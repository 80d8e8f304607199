from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pentimento.data import faces
from pentimento.data.faces import open_faces, split_of
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19, HELEN11, IGNORE
from pentimento.structures import LabelMap

RNG = np.random.default_rng(0)


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def pairs(folder: Path, names: list[str], size: int = 16) -> Path:
    """Write faces whose every pixel, in picture and labels, is the face's number."""
    for number, name in enumerate(names):
        save(folder / "images" / f"{name}.png", np.full((size, size, 3), number))
        save(folder / "labels" / f"{name}.png", np.full((size, size), number % 19))
    return folder


def people(dataset: faces.Faces) -> list[str]:
    return [dataset.sample(i, RNG).person for i in range(len(dataset))]


def test_pairs_are_read_at_the_size_asked_for(tmp_path: Path) -> None:
    data = open_faces(str(pairs(tmp_path, ["a", "b", "c"])), "train", 8)
    sample = data.sample(0, RNG)
    assert sample.image.shape == (8, 8, 3)
    assert sample.labels.shape == (8, 8)
    assert sample.image.max() == sample.labels.max() == ord(sample.person) - ord("a")


def test_both_splits_together_are_everyone_once(tmp_path: Path) -> None:
    names = [f"p{i}" for i in range(60)]
    folder = str(pairs(tmp_path, names))
    train, val = (people(open_faces(folder, split, 8)) for split in ("train", "val"))
    assert sorted(train + val) == sorted(names)
    assert {split_of(name) for name in val} == {"val"}
    assert 1 <= len(val) <= 15


def test_a_small_folder_still_has_two_sides(tmp_path: Path) -> None:
    folder = pairs(tmp_path, ["a", "b"])
    assert len({split_of("a"), split_of("b")}) == 1  # by hash alone one side would be empty
    train, val = (people(open_faces(str(folder), split, 8)) for split in ("train", "val"))
    assert sorted(train + val) == ["a", "b"]


def test_one_person_cannot_be_split(tmp_path: Path) -> None:
    folder = str(pairs(tmp_path, ["a"]))
    with pytest.raises(DataError, match="at least two people"):
        open_faces(folder, "train" if split_of("a") == "val" else "val", 8)


def test_weights_repeat_and_thin_out(tmp_path: Path) -> None:
    many = pairs(tmp_path / "many", [f"m{i}" for i in range(40)])
    few = pairs(tmp_path / "few", [f"f{i}" for i in range(20)])
    plain = people(open_faces(f"{many},{few}", "train", 8))
    weighted = open_faces(f"0.5*{many} + 3*{few}", "train", 8)
    drawn = people(weighted)
    assert [drawn.count(p) for p in plain if p[0] == "f"] == [3] * sum(p[0] == "f" for p in plain)
    assert sum(p[0] == "m" for p in drawn) == round(0.5 * sum(p[0] == "m" for p in plain))
    # Over epochs a thinned source shows all its faces.
    epochs = {p for _ in range(30) for p in people(weighted)}
    assert epochs == set(plain)
    assert people(open_faces(f"0.5*{many},3*{few}", "val", 8)) == people(
        open_faces(f"{many},{few}", "val", 8)
    )


def test_helen_values_are_renamed_and_edits_share_their_person(tmp_path: Path) -> None:
    for name in ("173", "173hair1", "9", "8"):
        save(tmp_path / "edit_img" / f"{name}.png", np.zeros((8, 8, 3)))
        save(tmp_path / "edit_label" / f"{name}.png", np.arange(64).reshape(8, 8) % 11)
    both = [open_faces(str(tmp_path), split, 8) for split in ("train", "val")]
    samples = [data.sample(i, RNG) for data in both for i in range(len(data))]
    assert sorted({s.person for s in samples}) == ["helen-173", "helen-8", "helen-9"]
    assert not set(people(both[0])) & set(people(both[1]))
    celeba = LabelMap(samples[0].labels, CELEBAMASK19)
    # Helen's class 4 is the image-left eye: the subject's right one.
    assert celeba.values[0, 4] == CELEBAMASK19.value("r_eye")
    assert (celeba.remap(HELEN11).values.ravel() == np.arange(64) % 11).all()


def test_celebamask_parts_overwrite_in_order_and_the_official_split_holds(tmp_path: Path) -> None:
    lines = ["idx orig_idx orig_file"]
    for number, original in enumerate((5, 170_000, 190_000)):
        save(tmp_path / "CelebA-HQ-img" / f"{number}.jpg", np.zeros((16, 16, 3)))
        lines.append(f"{number} {original} {original:06d}.jpg")
        masks = tmp_path / "CelebAMask-HQ-mask-anno" / "0"
        whole, left = np.full((512, 512), 255), np.zeros((512, 512))
        left[:, :256] = 255
        save(masks / f"{number:05d}_hair.png", left)
        save(masks / f"{number:05d}_skin.png", whole)
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(lines))
    train, val = (open_faces(str(tmp_path), split, 8) for split in ("train", "val"))
    assert (people(train), people(val)) == (["0"], ["1"])  # the third is the test set's
    labels = train.sample(0, RNG).labels
    assert (labels[:, :4] == CELEBAMASK19.value("hair")).all()
    assert (labels[:, 4:] == CELEBAMASK19.value("skin")).all()


def test_world_is_drawn_once_and_the_splits_share_no_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def portrait(seed: int, size: int) -> SimpleNamespace:
        drawn.append(seed)
        image = np.full((size, size, 3), seed % 251, np.uint8)
        return SimpleNamespace(picture=image, labels=LabelMap(np.ones((size, size), np.uint8)))

    monkeypatch.setenv("PENTIMENTO_CACHE", str(tmp_path))
    monkeypatch.setattr("pentimento.world.portraits.portrait", portrait)
    train, val = (open_faces("world:count=20", split, 32) for split in ("train", "val"))
    assert (len(train), len(val)) == (20, 2)
    assert not set(people(train)) & set(people(val))
    assert len(drawn) == 22
    first = train.sample(7, RNG)
    assert len(drawn) == 22  # from the cache
    assert first.image.shape == (32, 32, 3)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".npz"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "names no source"),
        ("nowhere", "no such folder"),
        ("world:size=3", "expected `world` or `world:count"),
        ("0*world", "weight of 0"),
        ("london:", "no such folder"),
    ],
)
def test_a_wrong_specification_says_what_was_expected(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_faces(spec, "train", 8)


def test_a_folder_of_unknown_layout_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DataError, match=r"no known layout.*images/ \+ labels/.*holiday"):
        open_faces(str(tmp_path), "train", 8)


def test_pictures_without_a_partner_are_named(tmp_path: Path) -> None:
    pairs(tmp_path, ["a", "b"])
    (tmp_path / "labels" / "b.png").unlink()
    with pytest.raises(DataError, match="without a partner: b"):
        open_faces(str(tmp_path), "train", 8)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((16, 16), 19), r"values \[19\] are no classes"),
        (np.zeros((16, 16, 3)), "grey or indexed PNG"),
        (np.zeros((16, 12)), "does not fit"),
    ],
)
def test_a_wrong_label_file_is_refused(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    pairs(tmp_path, ["a", "b", "c"])
    for name in "abc":
        save(tmp_path / "labels" / f"{name}.png", labels)
    with pytest.raises(DataError, match=message):
        open_faces(str(tmp_path), "train", 8).sample(0, RNG)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    pairs(tmp_path, ["a", "b", "c"])
    for name in "abc":
        (tmp_path / "images" / f"{name}.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"[abc]\.png: not a readable picture"):
        open_faces(str(tmp_path), "train", 8).sample(0, RNG)


def test_ignore_survives_reading(tmp_path: Path) -> None:
    pairs(tmp_path, ["a", "b", "c"])
    for name in "abc":
        save(tmp_path / "labels" / f"{name}.png", np.full((16, 16), IGNORE))
    assert (open_faces(str(tmp_path), "train", 8).sample(0, RNG).labels == IGNORE).all()
