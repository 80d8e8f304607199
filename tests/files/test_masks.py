"""Mask files: what is read, and what is refused with a remedy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pentimento.errors import MaskError
from pentimento.files.masks import open_mask, overlay, save_mask
from pentimento.labels import CELEBAMASK19, HELEN11, IGNORE
from pentimento.structures import LabelMap

VALUES = (np.arange(12, dtype=np.uint8).reshape(3, 4) * 5) % 19


def write(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    labels=st.sampled_from([CELEBAMASK19, HELEN11]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_saved_masks_come_back(tmp_path, data, labels, size):
    classes = st.sampled_from([*range(len(labels)), IGNORE])
    values = data.draw(arrays(np.uint8, size, elements=classes))
    save_mask(LabelMap(values, labels), tmp_path / "a.png")
    again = open_mask(tmp_path / "a.png", picture_size=size, labels=labels)
    assert np.array_equal(again.values, values)
    assert again.labels is labels


def test_saved_masks_are_indexed_with_the_palette(tmp_path):
    save_mask(LabelMap(VALUES), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.size) == ("P", (4, 3))
        assert np.array_equal(np.asarray(image), VALUES)
        colours = np.asarray(image.convert("RGB"))
    assert np.array_equal(colours, np.array(CELEBAMASK19.colours, np.uint8)[VALUES])


def test_grey_png_and_foreign_palettes_are_read_by_value(tmp_path):
    assert np.array_equal(open_mask(write(tmp_path / "g.png", VALUES)).values, VALUES)
    image = Image.fromarray(VALUES, "P")
    image.putpalette(list(range(60)))
    image.save(tmp_path / "p.png")
    assert np.array_equal(open_mask(tmp_path / "p.png").values, VALUES)


def test_helen_maps_keep_their_values(tmp_path):
    values = np.arange(11, dtype=np.uint8)[None]
    label_map = open_mask(write(tmp_path / "h.png", values), labels=HELEN11)
    assert label_map.mask("hair").tolist() == [[False] * 10 + [True]]


@pytest.mark.parametrize("alpha", [False, True])
def test_palette_colours_are_mapped(tmp_path, alpha):
    colours = np.array(CELEBAMASK19.colours, np.uint8)[VALUES]
    if alpha:
        colours = np.dstack([colours, np.full(VALUES.shape, 255, np.uint8)])
    path = write(tmp_path / "rgb.png", colours)
    assert np.array_equal(open_mask(path).values, VALUES)


def test_antialiased_colours_are_named(tmp_path):
    small = Image.fromarray(np.array(CELEBAMASK19.colours, np.uint8)[VALUES])
    small.resize((40, 30), Image.Resampling.BILINEAR).save(tmp_path / "soft.png")
    with pytest.raises(MaskError, match=r"soft\.png.*#[0-9a-f]{6}.*antialiased") as caught:
        open_mask(tmp_path / "soft.png")
    assert str(caught.value).count("#") == 8


def test_unknown_values_are_named(tmp_path):
    path = write(tmp_path / "odd.png", np.array([[0, 19, 77, 255]], np.uint8))
    with pytest.raises(MaskError, match=r"odd\.png has the values 19, 77.*0\.\.18"):
        open_mask(path)
    path = write(tmp_path / "many.png", np.arange(100, 200, dtype=np.uint8)[None])
    with pytest.raises(MaskError, match=r"100, 101, 102, 103, 104, 105, 106, 107 …"):
        open_mask(path)


def test_jpeg_masks_are_refused_whatever_they_are_called(tmp_path):
    for name in ("a.jpg", "a.png"):
        Image.fromarray(VALUES).save(tmp_path / name, "JPEG")
        # It is no damaged picture either, which is what a decoder's failure is called.
        with pytest.raises(MaskError, match=r"^[^ (]+ is a JPEG file; a mask must be PNG"):
            open_mask(tmp_path / name)


def test_another_size_is_refused(tmp_path):
    path = write(tmp_path / "m.png", VALUES)
    with pytest.raises(MaskError, match=r"m\.png is 4 × 3 pixels but the picture is 3 × 4"):
        open_mask(path, picture_size=(4, 3))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"hello"])
def test_damaged_masks_are_named(tmp_path, content):
    (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(MaskError, match=r"m\.png"):
        open_mask(tmp_path / "m.png")


def test_missing_masks_are_named(tmp_path):
    with pytest.raises(MaskError, match=r"gone\.png cannot be opened"):
        open_mask(tmp_path / "gone.png")


def test_other_pixel_kinds_are_refused(tmp_path):
    clear = np.zeros((2, 2, 4), np.uint8)
    with pytest.raises(MaskError, match="transparent"):
        open_mask(write(tmp_path / "clear.png", clear))
    with pytest.raises(MaskError, match="black-and-white"):
        open_mask(write(tmp_path / "bits.png", np.eye(3, dtype=bool)))
    with pytest.raises(MaskError, match="I;16"):
        open_mask(write(tmp_path / "deep.png", np.zeros((2, 2), np.uint16)))


def part_folder(folder, number=12):
    folder.mkdir(parents=True)
    parts = {"skin": np.s_[:], "nose": np.s_[1:3], "hair": np.s_[:, :2]}
    for name, where in parts.items():
        part = np.zeros((4, 4, 3), np.uint8)
        part[where] = 255
        write(folder / f"{number:05d}_{name}.png", part)
    values = np.full((4, 4), 1, np.uint8)
    values[1:3] = 2
    values[:, :2] = 13  # hair comes after skin and nose
    return values


def test_part_files_are_painted_in_class_order(tmp_path):
    values = part_folder(tmp_path / "one")
    for path in ("one", "one/00012", "one/00012_nose.png"):
        assert np.array_equal(open_mask(tmp_path / path).values, values), path


def test_part_files_are_found_by_number(tmp_path):
    values = part_folder(tmp_path / "anno" / "2", 4321)
    assert np.array_equal(open_mask(tmp_path / "anno" / "4321").values, values)


def test_a_folder_of_many_pictures_asks_for_one(tmp_path):
    part_folder(tmp_path / "many")
    write(tmp_path / "many" / "00013_hair.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(MaskError, match=r"2 pictures.*00012"):
        open_mask(tmp_path / "many")
    with pytest.raises(MaskError, match="no part files"):
        open_mask(tmp_path)


def test_part_files_that_disagree_are_refused(tmp_path):
    part_folder(tmp_path / "one")
    write(tmp_path / "one" / "00012_hat.png", np.zeros((5, 4), np.uint8))
    with pytest.raises(MaskError, match=r"00012_hat\.png is 4 × 5"):
        open_mask(tmp_path / "one")
    write(tmp_path / "one" / "00012_hat.png", np.full((4, 4), 90, np.uint8))
    with pytest.raises(MaskError, match="90"):
        open_mask(tmp_path / "one")


def test_masks_are_saved_as_png_only(tmp_path):
    with pytest.raises(MaskError, match=r"\.png"):
        save_mask(LabelMap(VALUES), tmp_path / "a.jpg")
    with pytest.raises(MaskError, match="does not exist"):
        save_mask(LabelMap(VALUES), tmp_path / "no" / "a.png")


def test_overlay_tints_regions_and_leaves_the_background():
    values = np.zeros((20, 20), np.uint8)
    values[5:15, 5:15] = CELEBAMASK19.value("hair")
    rgb = np.full((20, 20, 3), 100, np.uint8)
    result = overlay(rgb, LabelMap(values), 0.5)
    assert np.array_equal(result[:3], rgb[:3])
    assert result[10, 10].tolist() == [50, 50, 152]
    assert not np.array_equal(result[5, 10], result[10, 10])  # the border shows


def test_overlay_refuses_another_size():
    with pytest.raises(ValueError, match="picture"):
        overlay(np.zeros((2, 2, 3), np.uint8), LabelMap(VALUES))
