"""What the studio asks of the editor: painted layers, previews, mirrored parts, blended swaps."""

from dataclasses import replace

import numpy as np
import pytest
from stand_in import FAIR, ColourParser, FlatPortrait, draw, points

from pentimento.errors import MaskError
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.session.baseline import paint
from pentimento.session.document import Document, Mirror, Paint, Swap
from pentimento.session.editor import Editor, working_side
from pentimento.session.faces import Where
from pentimento.session.scene import Donor, SceneBuilder
from pentimento.structures import LabelMap, Picture

V = {name: value for value, name in enumerate(CELEBAMASK19.classes)}
SIZE = (300, 240)
WHERE = Where(points=points(*SIZE))
OTHER = Where(points=points(260, 260))


@pytest.fixture
def editor() -> Editor:
    made = Editor(ColourParser(), FlatPortrait())
    made.assets.pictures["photo"] = Picture(draw(*SIZE), name="photo")
    made.assets.pictures["other"] = Picture(draw(260, 260, hair=FAIR), name="other")
    return made


def layer(editor: Editor, side: int | None = None) -> LabelMap:
    """Return a layer on which hair is painted over the chin."""
    frame = side or working_side(editor.view("photo", WHERE))
    values = np.full((frame, frame), IGNORE, np.uint8)
    rows, columns = (
        slice(int(0.66 * frame), int(0.74 * frame)),
        slice(int(0.45 * frame), int(0.55 * frame)),
    )
    values[rows, columns] = V["hair"]
    return LabelMap(values)


def document(*commands: Paint | Mirror | Swap) -> Document:
    return Document("photo", WHERE, commands)


def test_paint_changes_what_was_painted_and_leaves_every_other_pixel(editor: Editor):
    editor.assets.masks["layer"] = layer(editor)
    result = editor.render(document(Paint("layer")))
    source = editor.assets.pictures["photo"].pixels
    same = (result.picture.pixels == source).all(2)
    assert same[result.weight == 0].all()
    grown = (result.mask.values == V["hair"]).sum() - (
        editor.view("photo", WHERE).label_map.values == V["hair"]
    ).sum()
    assert grown > 50


def test_a_layer_counts_the_same_at_any_resolution(editor: Editor):
    editor.assets.masks["full"] = layer(editor)
    editor.assets.masks["half"] = layer(editor, 160)
    full, half = (editor.render(document(Paint(n))).mask.values for n in ("full", "half"))
    assert (full != half).mean() < 0.002


def test_an_unpainted_layer_returns_the_photo_itself(editor: Editor):
    editor.assets.masks["layer"] = LabelMap(np.full((320, 320), IGNORE, np.uint8))
    result = editor.render(document(Paint("layer")))
    assert result.picture is editor.assets.pictures["photo"]


def test_paint_covers_what_a_swap_brought(editor: Editor):
    side = working_side(editor.view("photo", WHERE))
    own = editor.view("photo", WHERE).labels(side)
    swap = Swap("hair", "other", OTHER)
    moved = editor.beneath(document(swap)) != own
    assert moved.any()
    back = LabelMap(np.where(moved, own, IGNORE).astype(np.uint8))
    editor.assets.masks["back"] = back
    assert (editor.preview(document(swap, Paint("back")), side).labels == own).all()
    assert (editor.beneath(document(swap, Paint("back"))) != own).sum() == moved.sum()


def test_a_layer_that_is_not_square_is_refused(editor: Editor):
    editor.assets.masks["layer"] = LabelMap(np.full((320, 300), IGNORE, np.uint8))
    with pytest.raises(MaskError, match="square"):
        editor.render(document(Paint("layer")))


def test_a_preview_shows_in_the_frame_what_the_render_shows_in_the_photo(editor: Editor):
    editor.assets.masks["layer"] = layer(editor)
    asked = document(Paint("layer"))
    small = editor.preview(asked)
    assert len(small.image) == 8 * round(64 * editor.view("photo", WHERE).zoom / 8)
    seen = editor.preview(asked, 320)
    assert seen.image.shape == (320, 320, 3)
    before = editor.view("photo", WHERE).crop(320)
    untouched = seen.weight == 0
    assert np.abs(seen.image[untouched] - before[untouched]).max() <= 0.5
    painted = seen.weight == 255
    assert np.abs(seen.image[painted] - before[painted]).mean() > 20


def test_mirror_takes_the_other_eye_turned_round(editor: Editor):
    side = 320
    seen = editor.preview(document(Mirror("left_eye")), side)
    labels = editor.view("photo", WHERE).labels(side)
    middles = [np.array(np.nonzero(labels == V[name])).mean(1) for name in ("l_eye", "r_eye")]
    left, right = (seen.image[tuple(np.rint(m).astype(int))].astype(int) for m in middles)
    assert (seen.labels == V["l_eye"]).any()
    assert np.abs(left - right).max() < 60
    # The eyes of the drawing are blue and green: the blue one has turned green.
    assert left[1] > left[2]


def test_the_amount_of_a_swap_leads_from_the_own_region_to_the_other_s(editor: Editor):
    swap = Swap("hair", "other", OTHER)
    source = editor.assets.pictures["photo"].pixels.astype(int)
    none, half, full = (
        editor.render(document(replace(swap, amount=amount))).picture.pixels.astype(int)
        for amount in (0.0, 0.5, 1.0)
    )
    assert np.array_equal(none, source)
    share = np.abs(half - source).sum() / np.abs(full - source).sum()
    assert 0.4 < share < 0.6


def test_half_of_another_s_hair_has_the_outline_and_the_colour_between():
    """A small dark tuft and a large fair one: no ghost of the one before the other."""
    y, x = np.mgrid[:128, :128] - 63.5
    tufts = []
    for radius, shade in ((20, 40.0), (40, 200.0)):
        there = np.hypot(x, y) < radius
        image = np.where(there[..., None], np.float32(shade), np.float32(110)).repeat(3, 2)
        tufts.append((image.astype(np.float32), np.where(there, V["hair"], 0).astype(np.uint8)))
    (own, labels), (other, theirs) = tufts
    builder = SceneBuilder(own, labels, unit=1.0)
    builder.swap("hair", Donor(other, theirs, "other"), 0.5)
    scene = builder.build()
    hair = scene.target == V["hair"]
    assert abs(np.sqrt(hair.sum() / np.pi) - 30) < 1
    inside = paint(scene).image[np.hypot(x, y) < 26]
    assert np.abs(inside - 120).max() < 8


def test_half_a_hat_on_a_bare_head_is_faint():
    """There is nothing to start from: the other's part shows through."""
    bare = np.zeros((128, 128), np.uint8)
    hatted = bare.copy()
    hatted[40:80, 40:80] = V["hat"]
    grey = np.full((128, 128, 3), 100, np.float32)
    builder = SceneBuilder(grey, bare, unit=1.0)
    builder.swap("hat", Donor(grey, hatted, "other"), 0.3)
    scene = builder.build()
    assert scene.faint == {V["hat"]: 0.3}
    assert (scene.target == hatted).all()


def test_a_forgotten_picture_is_seen_anew(editor: Editor):
    editor.preview(document(Mirror("left_eye")))
    calls = editor.parser.calls  # type: ignore[attr-defined]
    editor.preview(document(Mirror("right_eye")))
    assert editor.parser.calls == calls  # type: ignore[attr-defined]
    picture = editor.assets.pictures["photo"]
    editor.forget("photo")
    editor.assets.pictures["photo"] = picture
    editor.preview(document(Mirror("right_eye")))
    assert editor.parser.calls > calls  # type: ignore[attr-defined]


def test_after_a_stroke_only_what_lies_near_it_is_painted_anew(editor: Editor):
    side = working_side(editor.view("photo", WHERE))
    first, second = (layer(editor).values.copy() for _ in range(2))
    second[int(0.3 * side) : int(0.36 * side), int(0.3 * side) : int(0.36 * side)] = V["hair"]
    editor.assets.masks.update(one=LabelMap(first), two=LabelMap(second))
    before = editor.preview(document(Paint("one")))
    after = editor.preview(document(Paint("two")))
    whole = Editor(editor.parser, editor.portrait)
    whole.assets = editor.assets
    fresh = whole.preview(document(Paint("two")))
    assert (after.labels == fresh.labels).all()
    assert (after.weight == fresh.weight).all()
    assert np.abs(after.image.astype(int) - fresh.image).mean() < 1
    rows = slice(int(0.66 * len(after.image)), None)  # the first stroke's own place
    assert (after.image[rows] == before.image[rows]).all(2).mean() > 0.9
    assert (after.image != before.image).any()


def test_a_preview_can_be_ended_between_two_layers(editor: Editor):
    editor.assets.masks["layer"] = layer(editor)
    stages: list[str] = []

    class UnwantedError(Exception):
        pass

    def note(stage: str) -> None:
        stages.append(stage)
        if stages.count("paint") == 2:
            raise UnwantedError

    with pytest.raises(UnwantedError):
        editor.preview(document(Paint("layer")), note=note)
    again = editor.preview(document(Paint("layer")))
    fresh = Editor(editor.parser, editor.portrait)
    fresh.assets = editor.assets
    assert (again.image == fresh.preview(document(Paint("layer"))).image).all()
