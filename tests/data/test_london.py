import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pentimento.data.faces import open_faces
from pentimento.data.london import derive_labels, london_faces
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19, IGNORE

SIZE = 240
SKIN, HAIR, GREY, SHIRT = (205, 160, 135), (60, 40, 30), (200, 202, 205), (250, 250, 252)


def studio_face() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a studio photo: hair around a head, a neck, a white shirt; with mask and landmarks."""
    photo = np.full((SIZE, SIZE, 3), GREY, np.uint8)
    parts = np.zeros((SIZE, SIZE), np.uint8)

    def ellipse(target: np.ndarray, centre: tuple, axes: tuple, value: tuple | int) -> None:
        cv2.ellipse(target, centre, axes, 0, 0, 360, value, -1)

    cv2.rectangle(photo, (100, 150), (140, 215), SKIN, -1)
    cv2.rectangle(parts, (102, 160), (138, 195), 9, -1)
    cv2.rectangle(photo, (50, 208), (190, 240), SHIRT, -1)
    ellipse(photo, (120, 98), (52, 62), HAIR)
    for target, value in ((photo, SKIN), (parts, 1)):
        ellipse(target, (120, 120), (38, 50), value)
    for x in (104, 136):
        ellipse(parts, (x, 110), (7, 4), 3)
        ellipse(parts, (x, 99), (9, 3), 2)
    cv2.rectangle(parts, (118, 108), (122, 130), 5, -1)
    cv2.rectangle(parts, (112, 128), (128, 132), 5, -1)
    ellipse(parts, (120, 146), (12, 3), 6)
    ellipse(parts, (120, 150), (12, 3), 7)

    points = np.full((189, 2), 120.0)
    points[[0, 1]] = (104, 110), (136, 110)
    points[[87, 93]] = (108, 148), (132, 148)
    points[115:125] = (120, 130)
    points[128] = (120, 170)
    angle = np.linspace(0, 2 * np.pi, 13)
    points[145:158] = np.stack([120 + 50 * np.cos(angle), 98 + 60 * np.sin(angle)], 1)
    return photo, parts, points


def london_folder(root: Path, people: list[str], tem: bool = False) -> Path:
    photo, parts, points = studio_face()
    listed = {}
    for person in people:
        name = f"{person}_03"
        for path, image in ((f"neutral/{name}.jpg", photo), (f"masks/neutral/{name}.png", parts)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / path, quality=95)
        listed[f"neutral/{name}.jpg"] = points.tolist()
        if tem:
            lines = ["189", *(f"{x}\t{y}" for x, y in points), "0"]
            (root / "neutral" / f"{name}.tem").write_text("\n".join(lines))
    if not tem:
        (root / "landmarks189.json").write_text(json.dumps(listed))
    return root


def test_hair_background_and_clothes_are_derived_from_colour() -> None:
    photo, parts, points = studio_face()
    labels = derive_labels(photo, parts, points)

    def share(box: tuple[slice, slice], name: str) -> float:
        return float((labels[box] == CELEBAMASK19.value(name)).mean())

    assert share(np.s_[45:62, 105:135], "hair") > 0.9
    assert share(np.s_[5:100, 5:60], "background") > 0.95
    assert share(np.s_[225:238, 60:180], "cloth") > 0.9
    assert share(np.s_[198:205, 104:136], "neck") > 0.9  # below the template's polygon


def test_sides_are_the_subjects_and_the_nose_has_flanks() -> None:
    labels = derive_labels(*studio_face())
    assert labels[110, 104] == CELEBAMASK19.value("r_eye")  # on the picture's left
    assert labels[110, 136] == CELEBAMASK19.value("l_eye")
    assert labels[99, 104] == CELEBAMASK19.value("r_brow")
    assert labels[125, 115] == CELEBAMASK19.value("nose")  # beside the bridge, above a wing


@pytest.mark.parametrize(("gap", "name"), [(0.4, None), (6.0, "mouth")])
def test_only_an_open_mouth_is_a_mouth(gap: float, name: str | None) -> None:
    photo, parts, points = studio_face()
    parts[147:150, 112:129] = 10
    points[96], points[101] = (120, 148 - gap / 2), (120, 148 + gap / 2)
    between = derive_labels(photo, parts, points)[148, 114:127]
    assert (between == (IGNORE if name is None else CELEBAMASK19.value(name))).all()


def test_a_colour_that_is_neither_hair_nor_background_stays_unknown() -> None:
    photo, parts, points = studio_face()
    photo[80:100, 170:200] = (30, 160, 60)  # a green thing beside the head
    labels = derive_labels(photo, parts, points)
    thing = labels[82:98, 172:198]
    assert (thing != CELEBAMASK19.value("background")).all()
    assert (thing == IGNORE).mean() > 0.9


@pytest.mark.parametrize("tem", [False, True])
def test_faces_are_cut_in_the_aligned_frame(tmp_path: Path, tem: bool) -> None:
    faces = london_faces(london_folder(tmp_path, ["001"], tem))
    assert [face.person for face in faces] == ["neutral-001"]
    sample = faces[0].read(64)
    for name, x in (("r_eye", 0.383), ("l_eye", 0.617)):
        rows, columns = np.nonzero(sample.labels == CELEBAMASK19.value(name))
        assert columns.mean() / 64 == pytest.approx(x, abs=0.02)
        assert rows.mean() / 64 == pytest.approx(0.47, abs=0.02)


def test_london_splits_by_person(tmp_path: Path) -> None:
    folder = london_folder(tmp_path, [f"{i:03d}" for i in range(30)])
    rng = np.random.default_rng(0)
    train, val = (
        {data.sample(i, rng).person for i in range(len(data))}
        for data in (open_faces(f"london:{folder}", split, 32) for split in ("train", "val"))
    )
    assert len(train | val) == 30
    assert not train & val


def test_a_folder_without_landmarks_says_what_is_expected(tmp_path: Path) -> None:
    london_folder(tmp_path, ["001"])
    (tmp_path / "landmarks189.json").unlink()
    with pytest.raises(DataError, match=r"landmarks189\.json \(or \.tem files\)"):
        london_faces(tmp_path)


def test_a_short_template_is_refused(tmp_path: Path) -> None:
    london_folder(tmp_path, ["001"], tem=True)
    (tmp_path / "neutral" / "001_03.tem").write_text("2\n1\t1\n2\t2\n")
    with pytest.raises(DataError, match="expected 189 points, found 2"):
        london_faces(tmp_path)
