"""The generator as a painter, with one so small that only its change is of use."""

import numpy as np
import pytest
from stand_in import FAIR, ColourParser, FlatPortrait
from test_editor import Bench, V, assert_untouched_outside, wider_mouth

from pentimento.labels import IGNORE
from pentimento.ops.regions import grow
from pentimento.session.editor import Editor
from pentimento.structures import LabelMap


@pytest.fixture
def bench() -> Bench:
    return Bench(editor=Editor(ColourParser(), FlatPortrait()))


def inner(bench: Bench, *classes: str) -> np.ndarray:
    return ~grow(~np.isin(bench.parse, [V[name] for name in classes]), 3)


def test_every_kind_of_edit_leaves_the_rest_alone(bench: Bench):
    commands = bench.swap("hair"), bench.restyle("lips"), bench.mask(wider_mouth)
    result = bench.render(*commands, painter="generator")
    assert result.painter == "generator"
    assert result.notices == ()
    assert_untouched_outside(result, bench.picture)


def test_a_restyle_moves_the_photo_by_what_the_generator_changes(bench: Bench):
    hair = inner(bench, "hair")
    before = bench.picture.pixels[hair].astype(float)
    whole = bench.render(bench.restyle("hair"), painter="generator").picture.pixels[hair]
    half = bench.render(bench.restyle("hair", 0.5), painter="generator").picture.pixels[hair]
    # The generator is 12 levels too dark in both of its pictures: the photo must not become so.
    assert np.abs(whole.mean(0) - FAIR).max() < 14
    assert np.abs(half.mean(0) - (before.mean(0) + FAIR) / 2).max() < 14
    assert whole.std(0).mean() > 0.6 * before.std(0).mean()  # the photo's own texture stays


def test_new_content_is_free_of_the_generator_s_error(bench: Bench):
    def hair_on_the_cheek(values: np.ndarray) -> None:
        values[130:170, 110:128] = V["hair"]

    result = bench.render(bench.mask(hair_on_the_cheek), painter="generator")
    new = result.picture.pixels[140:160, 116:122].reshape(-1, 3).mean(0)
    own = bench.picture.pixels[inner(bench, "hair")].mean(0)
    assert np.abs(new - own).max() < 20


def test_a_face_is_encoded_once_however_often_it_is_edited(bench: Bench):
    for amount in (0.2, 0.5, 0.9):
        bench.render(bench.restyle("lips", amount), painter="generator")
    assert bench.editor.portrait.encoded == 2  # the photo and the reference


def test_no_change_asks_nothing_of_the_generator(bench: Bench):
    assert bench.render(painter="generator").picture is bench.picture
    assert bench.editor.portrait.encoded == 0


def test_hairs_about_a_brow_are_not_taken_for_skin(monkeypatch: pytest.MonkeyPatch):
    seen: list[LabelMap] = []
    encode = FlatPortrait.encode

    def spy(self: FlatPortrait, image: np.ndarray, labels: LabelMap) -> object:
        seen.append(labels)
        return encode(self, image, labels)

    monkeypatch.setattr(FlatPortrait, "encode", spy)
    bench = Bench(editor=Editor(ColourParser(), FlatPortrait(256)))
    bench.render(bench.mask(wider_mouth), painter="generator")
    values = seen[0].values
    unknown, brows = values == IGNORE, np.isin(values, [V["l_brow"], V["r_brow"]])
    assert brows.any()
    assert unknown.any()
    assert (unknown <= grow(brows, 3)).all()
    assert not (values[grow(brows, 3)] == V["skin"]).any()
