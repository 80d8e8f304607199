import pytest
from hypothesis import given
from hypothesis import strategies as st

from pentimento.errors import FaceError, PentimentoError
from pentimento.labels import REGIONS
from pentimento.session.document import (
    MIRRORED,
    Document,
    Mirror,
    Paint,
    Reshape,
    Restyle,
    Swap,
    parse_command,
)
from pentimento.session.faces import Where

numbers = st.floats(0, 5000, allow_nan=False)
wheres = st.one_of(
    st.builds(Where, index=st.integers(1, 9)),
    st.builds(Where, points=st.tuples(*[st.tuples(numbers, numbers)] * 3)),
    st.builds(Where, box=st.tuples(numbers, numbers, numbers, numbers)),
    st.just(Where(aligned=True)),
)
regions = st.sampled_from(sorted(REGIONS))
commands = st.one_of(
    st.builds(Reshape, st.text()),
    st.builds(Swap, regions, st.text(), wheres, st.floats(0, 1)),
    st.builds(Mirror, st.sampled_from(MIRRORED)),
    st.builds(Paint, st.text()),
    st.builds(Restyle, regions, st.text(), st.floats(0, 1), wheres),
)
documents = st.builds(Document, st.text(), wheres, st.lists(commands).map(tuple))


@given(documents)
def test_a_document_survives_json(document: Document):
    assert Document.from_json(document.to_json()) == document


def test_then_and_undone_make_new_documents():
    empty = Document("photo.jpg")
    one = empty.then(Swap("hair", "other.jpg"))
    assert empty.commands == ()
    assert one.undone() == empty
    assert empty.undone() == empty


@pytest.mark.parametrize("command", [Swap, Restyle])
def test_an_unknown_region_is_named_with_the_ones_there_are(command: type):
    with pytest.raises(PentimentoError, match=r"'beard'; there are skin, nose, .*clothes"):
        command("beard", "other.jpg")


@pytest.mark.parametrize("amount", [-0.1, 1.5, float("nan")])
def test_an_amount_outside_0_to_1_is_refused(amount: float):
    with pytest.raises(PentimentoError, match="from 0 to 1"):
        Restyle("lips", "ref.jpg", amount)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"format": 2, "photo": "a", "commands": []}',
        '{"format": 1, "photo": "a", "commands": [{"verb": "eat"}]}',
        '{"format": 1, "photo": "a", "commands": [{"verb": "swap", "region": "hair"}]}',
        '{"format": 1, "photo": "a", "where": {"eye": 3}, "commands": []}',
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(text: str):
    with pytest.raises(PentimentoError):
        Document.from_json(text)


def test_a_document_with_impossible_values_is_refused():
    text = '{"format": 1, "photo": "a", "where": {"index": 0}, "commands": []}'
    with pytest.raises(FaceError):
        Document.from_json(text)


def test_mirror_takes_parts_that_there_are_two_of():
    with pytest.raises(PentimentoError, match="left_eye, right_eye"):
        Mirror("nose")


def test_a_document_names_each_of_its_files_once():
    document = Document("p", commands=(Swap("hair", "a"), Restyle("lips", "a"), Swap("nose", "b")))
    document = document.then(Reshape("m")).then(Paint("l"))
    assert document.pictures() == ("p", "a", "b")
    assert document.masks() == ("m", "l")


@pytest.mark.parametrize("item", [{}, {"verb": "run"}, {"verb": "swap"}, {"verb": "paint", "x": 1}])
def test_what_is_no_command_is_refused(item: dict):
    with pytest.raises(PentimentoError, match="no command"):
        parse_command(item)
