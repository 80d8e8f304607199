import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pentimento.errors import PentimentoError
from pentimento.session.document import Document, Paint, Swap
from pentimento.session.history import LIMIT, History


def test_a_new_step_drops_what_was_undone():
    history = History.of(Document("p")).then("a", Document("p", commands=(Paint("1"),)))
    history = history.then("b", Document("p", commands=(Paint("2"),)))
    branch = history.at(1).then("c", Document("p", commands=(Paint("3"),)))
    assert [step.label for step in branch.steps] == ["Open", "a", "c"]
    assert branch.position == 2


def test_at_least_64_steps_can_be_undone_and_memory_is_bounded():
    history = History.of(Document("p"))
    for i in range(LIMIT + 50):
        history = history.then(str(i), Document("p", commands=(Paint(str(i)),)))
    assert len(history.steps) == LIMIT
    assert LIMIT > 64
    assert history.steps[-1].label == str(LIMIT + 49)
    with pytest.raises(PentimentoError, match=f"0 to {LIMIT - 1}"):
        history.at(LIMIT)


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_any_history_survives_json_at_any_position(seed: int, count: int):
    chance = random.Random(seed)
    history = History.of(Document("p"))
    for i in range(count):
        swap = Swap("hair", "o", amount=chance.random())
        history = history.then(f"é{i}", Document("p", commands=(swap, Paint(str(i)))))
        history = history.at(chance.randrange(len(history.steps)))
    assert History.from_json(history.to_json()) == history


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"steps": [], "position": 0}', "null"])
def test_anything_else_is_no_history(text: str):
    with pytest.raises(PentimentoError, match="histor"):
        History.from_json(text)
