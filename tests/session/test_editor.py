"""Promises 1 and 2 of the design, end to end, with a parser that knows the drawing's colours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from stand_in import COLOURS, FAIR, ColourParser, draw, points

from pentimento.errors import FaceError, MaskError, PentimentoError, PictureError
from pentimento.files.pictures import open_picture, save_picture
from pentimento.labels import CELEBAMASK19, HELEN11
from pentimento.ops.regions import grow
from pentimento.session.document import Document, Reshape, Restyle, Swap
from pentimento.session.editor import Editor, Result
from pentimento.session.faces import Where
from pentimento.session.scene import BAND
from pentimento.structures import LabelMap, Picture

V = {name: value for value, name in enumerate(CELEBAMASK19.classes)}
SIZE = (300, 240)  # width, height
WHERE = Where(points=points(*SIZE))
OTHER = Where(points=points(260, 260))


class Bench:
    """An editor over a drawn photo and a drawn other face with fair hair."""

    def __init__(
        self,
        picture: Picture | None = None,
        where: Where = WHERE,
        editor: Editor | None = None,
    ) -> None:
        self.editor = editor or Editor(ColourParser())
        self.picture = picture or Picture(draw(*SIZE), name="photo")
        self.where = where
        self.photo = self.editor.assets.keep(self.picture)
        self.other = self.editor.assets.keep(Picture(draw(260, 260, hair=FAIR), name="other"))

    @property
    def parse(self) -> np.ndarray:
        return self.editor.view(self.photo, self.where).label_map.values

    def mask(self, change: Callable[[np.ndarray], None]) -> Reshape:
        values = self.parse.copy()
        change(values)
        return Reshape(self.editor.assets.keep(LabelMap(values)))

    def render(self, *commands: Reshape | Swap | Restyle, painter: str = "baseline") -> Result:
        return self.editor.render(Document(self.photo, self.where, commands), painter)

    def swap(self, region: str) -> Swap:
        return Swap(region, self.other, OTHER)

    def restyle(self, region: str, amount: float = 1.0) -> Restyle:
        return Restyle(region, self.other, amount, OTHER)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def wider_mouth(values: np.ndarray) -> None:
    lips = np.isin(values, [V["mouth"], V["u_lip"], V["l_lip"]])
    values[grow(lips, 4) & (values == V["skin"])] = V["l_lip"]


def assert_untouched_outside(result: Result, source: Picture) -> None:
    same = (result.picture.pixels == source.pixels).all(2)
    assert same[result.weight == 0].all()
    assert not same.all()
    if source.alpha is None:
        assert result.picture.alpha is None
    else:
        np.testing.assert_array_equal(result.picture.alpha, source.alpha)
    for kept in ("mode", "icc", "dpi", "exif", "format"):
        assert getattr(result.picture, kept) == getattr(source, kept)
    assert result.picture.pixels.dtype == source.pixels.dtype


def in_mode(mode: str, deep: bool, alpha: bool) -> Picture:
    rgb = Image.fromarray(draw(*SIZE))
    pixels = np.array(rgb.convert({"grey": "L", "rgb": "RGB", "cmyk": "CMYK"}[mode]))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    opacity = np.random.default_rng(1).integers(0, 256, pixels.shape[:2], np.uint8)
    if deep:
        noise = np.random.default_rng(2).integers(0, 257, pixels.shape)
        pixels = (pixels.astype(np.int64) * 257 + noise - 128).clip(0, 65535).astype(np.uint16)
        opacity = opacity.astype(np.uint16) * 257
    return Picture(pixels, mode, opacity if alpha else None, dpi=(300, 300), name="any")


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(["grey", "rgb", "cmyk"]), st.booleans(), st.booleans(), st.integers(0, 2))
def test_outside_the_band_every_mode_keeps_its_bytes(mode, deep, alpha, place):
    picture = in_mode(mode, deep and mode != "cmyk", alpha and mode != "cmyk")
    bench = Bench(picture)

    def patch(values: np.ndarray) -> None:
        values[100:140, 100 + 20 * place : 140 + 20 * place] = V["hat"]

    assert_untouched_outside(bench.render(bench.mask(patch)), picture)


@pytest.mark.parametrize("painter", ["baseline", "paste", "generator"])
@pytest.mark.parametrize("region", ["hair", "mouth", "eyes", "lips", "nose", "brows", "skin"])
def test_a_swap_changes_its_region_and_nothing_far_from_it(bench: Bench, painter: str, region: str):
    result = bench.render(bench.swap(region), painter=painter)
    assert_untouched_outside(result, bench.picture)
    assert result.painted < 0.6 * result.weight.size


def test_a_restyle_takes_the_colour_and_keeps_the_shape(bench: Bench):
    result = bench.render(bench.restyle("hair"))
    hair = bench.parse == V["hair"]
    inner = ~grow(~hair, 4)
    assert np.abs(result.picture.pixels[inner].mean(0) - FAIR).max() < 12
    np.testing.assert_array_equal(result.mask.values, bench.parse)
    half = bench.render(bench.restyle("hair", 0.5)).picture.pixels[inner].mean()
    before, after = bench.picture.pixels[inner].mean(), result.picture.pixels[inner].mean()
    assert before + 20 < half < after - 20


def test_the_blend_band_is_narrow(bench: Bench):
    change = bench.mask(wider_mouth)
    result = bench.render(change)
    asked = bench.editor.assets.mask(change.mask).values != bench.parse
    lips = np.isin(bench.parse, [V["mouth"], V["u_lip"], V["l_lip"]])
    assert not (result.weight > 0)[~grow(asked | lips, 2 * BAND * result.side + 3)].any()


def test_no_commands_or_an_unchanged_mask_return_the_source_object(bench: Bench):
    assert bench.render().picture is bench.picture
    assert bench.render(bench.mask(lambda values: None)).picture is bench.picture
    assert bench.render(bench.restyle("hair", 0.0)).picture is bench.picture


def test_a_reshaped_mask_is_what_the_result_shows(bench: Bench):
    change = bench.mask(wider_mouth)
    result = bench.render(change)
    wanted = bench.editor.assets.mask(change.mask).values
    assert (result.mask.values == wanted).mean() > 0.995
    again = bench.editor.view(bench.editor.assets.keep(result.picture), bench.where)
    lips = wanted == V["l_lip"]
    seen = np.isin(again.label_map.values, [V["l_lip"], V["u_lip"]])
    assert (lips & seen).sum() > 0.6 * lips.sum()


def test_a_shut_mouth_that_is_opened_shows_teeth_and_dark_not_more_lip():
    shut = draw(*SIZE)
    line = (np.abs(shut.astype(int) - COLOURS["mouth"]) < 40).all(2)
    shut[line] = COLOURS["l_lip"]
    bench = Bench(Picture(shut, name="shut"))

    def open_it(values: np.ndarray) -> None:
        y, x = (int(a.mean()) for a in np.nonzero(np.isin(values, [V["u_lip"], V["l_lip"]])))
        values[y - 3 : y + 5, x - 10 : x + 11] = V["mouth"]

    change = bench.mask(open_it)
    picture = bench.render(change).picture.pixels.astype(float)
    inside = bench.editor.assets.mask(change.mask).values == V["mouth"]
    rows = np.flatnonzero(inside.any(1))
    upper, lower = (picture[row][inside[row]].mean(0) for row in (rows[2], rows[-2]))
    assert upper.mean() > lower.mean() + 20  # teeth above, dark below
    assert np.ptp(upper) < 0.5 * np.ptp(COLOURS["l_lip"])  # and no lip's red


def test_a_mask_of_the_aligned_face_s_size_is_understood(bench: Bench):
    small = bench.editor.view(bench.photo, bench.where).labels(128).copy()
    lips = np.isin(small, [V["mouth"], V["u_lip"], V["l_lip"]])
    small[grow(lips, 3) & (small == V["skin"])] = V["l_lip"]
    name = bench.editor.assets.keep(LabelMap(small))
    assert_untouched_outside(bench.render(Reshape(name)), bench.picture)


def test_a_mask_in_another_label_set_is_translated(bench: Bench):
    parse = LabelMap(bench.parse).remap(HELEN11)
    name = bench.editor.assets.keep(parse)
    wanted = np.isin(bench.parse, [V["neck"], V["cloth"]])  # Helen knows neither: background
    result = bench.render(Reshape(name))
    assert (result.weight > 0)[~grow(~wanted, 3)].mean() > 0.5


def test_commands_on_different_regions_commute(bench: Bench):
    commands = bench.swap("hair"), bench.restyle("lips"), bench.swap("nose")
    one = bench.render(*commands).picture.pixels
    two = bench.render(*reversed(commands)).picture.pixels
    assert np.abs(one.astype(int) - two).max() <= 1


def test_the_same_document_gives_the_same_bytes():
    one, two = (b.render(b.swap("hair"), b.mask(wider_mouth)) for b in (Bench(), Bench()))
    assert one.document == two.document
    np.testing.assert_array_equal(one.picture.pixels, two.picture.pixels)


def test_one_picture_is_parsed_once_however_often_it_is_edited(bench: Bench):
    bench.render(bench.restyle("lips"))
    calls = bench.editor.parser.calls
    bench.render(bench.swap("hair"), bench.restyle("lips", 0.3))
    assert bench.editor.parser.calls == calls


@pytest.mark.parametrize("centre", [(30, 110), (280, 120), (150, 12), (150, 215)])
def test_faces_cut_by_the_photo_s_border_can_be_edited(centre: tuple[float, float]):
    picture = Picture(draw(*SIZE, centre, 50.0), name="cut")
    bench = Bench(picture, Where(points=points(*SIZE, centre, 50.0)))
    for command in (bench.restyle("skin"), bench.swap("hair")):
        assert_untouched_outside(bench.render(command), picture)


@pytest.mark.parametrize("side", [1, 2, 9, 24])
def test_tiny_photos_can_be_edited_as_aligned_faces(side: int):
    picture = Picture(draw(max(side, 24), max(side, 24))[:side, :side], name="tiny")
    bench = Bench(picture, Where(aligned=True))

    def all_hair(values: np.ndarray) -> None:
        values[:] = V["hair"]

    result = bench.render(bench.mask(all_hair))
    assert result.picture.pixels.shape == picture.pixels.shape


def test_a_mask_of_another_size_is_refused_with_the_sizes(bench: Bench):
    name = bench.editor.assets.keep(LabelMap(np.zeros((50, 60), np.uint8)))
    with pytest.raises(MaskError, match=r"60x50 pixels; .* 300x240 .* 128x128"):
        bench.render(Reshape(name))


def test_an_other_without_a_face_is_named(bench: Bench):
    grass = Picture(np.full((90, 90, 3), 77, np.uint8), name="meadow.jpg")
    with pytest.raises(FaceError, match=r"meadow\.jpg: no face found"):
        bench.render(Swap("hair", bench.editor.assets.keep(grass)))


@pytest.mark.parametrize("verb", [Swap, Restyle])
def test_a_region_the_other_does_not_show_is_named(bench: Bench, verb: type):
    with pytest.raises(FaceError, match="other: its face shows no hat"):
        bench.render(verb("hat", bench.other, where=OTHER))


def test_an_unknown_painter_is_refused(bench: Bench):
    with pytest.raises(PentimentoError, match="generator, baseline, paste"):
        bench.render(painter="dali")


def test_without_portrait_weights_the_generator_falls_back_and_says_so(bench: Bench):
    result = bench.render(bench.restyle("lips"), painter="generator")
    assert result.painter == "baseline"
    assert any("no portrait weights" in notice for notice in result.notices)
    assert bench.render(bench.restyle("lips"), painter="baseline").notices == ()


def test_changes_outside_the_frame_are_reported():
    place = (420.0, 130.0)
    photo = Picture(draw(500, 240, place, 40.0), name="photo")
    bench = Bench(photo, Where(points=points(500, 240, place, 40.0)))

    def corner(values: np.ndarray) -> None:
        values[:4, :4] = V["hat"]

    result = bench.render(bench.mask(corner))
    assert result.picture is bench.picture
    assert "16 changed pixels" in result.notices[0]


def test_a_missing_picture_is_named(bench: Bench, tmp_path: Path):
    with pytest.raises(PictureError, match=r"nowhere\.jpg"):
        bench.render(Swap("hair", str(tmp_path / "nowhere.jpg")))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_saved_files_keep_everything_outside_the_band(tmp_path: Path, ending: str):
    path = tmp_path / f"photo.{ending}"
    save_picture(Picture(draw(*SIZE), dpi=(72, 72)), path)
    source = open_picture(path)
    editor = Editor(ColourParser())
    other = editor.assets.keep(Picture(draw(260, 260, hair=FAIR)))
    document = Document(str(path), WHERE, (Restyle("hair", other, 1.0, OTHER),))
    result = editor.render(document, "baseline")
    result.save(tmp_path / f"out.{ending}")
    saved = open_picture(tmp_path / f"out.{ending}")
    assert (saved.mode, saved.format) == (source.mode, source.format)
    assert saved.pixels.shape == source.pixels.shape
    if ending in ("png", "tif"):
        same = (saved.pixels == source.pixels).all(2)
        assert same[result.weight == 0].all()
    elif ending == "jpg":  # blocks of 16x16 that the edit does not reach keep their coefficients
        far = ~grow(result.weight > 0, 24)
        assert (saved.pixels == source.pixels).all(2)[far].all()
