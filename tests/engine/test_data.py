"""Which samples a step uses, and what becomes of broken ones."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from engine import toy
from pentimento.engine.data import Stream, Validation, as_float32, to_device
from pentimento.engine.settings import Settings
from pentimento.errors import DataError


@dataclass(frozen=True)
class Numbers:
    """Sample i is (i, a random number)."""

    size: int
    broken: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, rng: np.random.Generator) -> tuple[int, float]:
        if index in self.broken:
            raise OSError(f"number_{index}.png: truncated")
        return index, float(rng.random())


class Lists:
    """As much of a system as loading needs: a batch is the list of its samples."""

    networks = nn.ModuleDict()
    optimizers: dict[str, Any] = {}  # noqa: RUF012

    def collate(self, samples: Any) -> list[Any]:
        return [tuple(sample) for sample in samples]


def stream(data: Numbers, size: int = 3, seed: int = 0, workers: int = 0, **where: Any) -> Stream:
    return Stream(Lists(), data, Settings(1, size, seed=seed, workers=workers), **where)


def taken(batches: Stream, count: int) -> list[Any]:
    return [sample for batch in (next(batches) for _ in range(count)) for sample in batch]


def test_an_epoch_draws_every_sample_once_and_epochs_differ() -> None:
    drawn = taken(stream(Numbers(12)), 8)
    epochs = [[index for index, _ in drawn[:12]], [index for index, _ in drawn[12:]]]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0] != epochs[1]
    assert len({number for _, number in drawn}) == 24, "augmentation differs from draw to draw"


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 9), batch=st.integers(1, 5), start=st.integers(0, 30))
def test_a_stream_continues_anywhere(size: int, batch: int, start: int) -> None:
    whole = taken(stream(Numbers(size), batch), start + 3)
    assert taken(stream(Numbers(size), batch, start=start), 3) == whole[start * batch :]


def test_ranks_share_what_one_process_would_draw() -> None:
    one = stream(Numbers(12), 4)
    ranks = [stream(Numbers(12), 2, rank=rank, world=2) for rank in range(2)]
    for _ in range(7):
        assert next(one) == next(ranks[0]) + next(ranks[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_data(workers: int) -> None:
    assert taken(stream(Numbers(11), workers=workers), 9) == taken(stream(Numbers(11)), 9)


def test_the_seed_decides_order_and_augmentation() -> None:
    assert taken(stream(Numbers(12), seed=1), 4) == taken(stream(Numbers(12), seed=1), 4)
    assert taken(stream(Numbers(12), seed=1), 4) != taken(stream(Numbers(12), seed=2), 4)


def test_the_loader_leaves_the_generators_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    taken(stream(Numbers(5), workers=1), 2)
    assert torch.rand(3).equal(expected)


def test_a_broken_sample_is_named_counted_and_replaced_the_same_way() -> None:
    data = Numbers(40, frozenset({7, 20}))
    batches = stream(data, 5)
    drawn = taken(batches, 16)
    assert batches.bad == {
        7: "OSError: number_7.png: truncated",
        20: "OSError: number_20.png: truncated",
    }
    assert len(drawn) == 80
    assert {index for index, _ in drawn} == set(range(40)) - {7, 20}
    assert taken(stream(data, 5, workers=2), 16) == drawn


def test_more_than_one_in_twenty_fails_fast_and_names_samples() -> None:
    batches = stream(Numbers(40, frozenset({1, 2, 3})), 5)
    with pytest.raises(DataError, match=r"3 of 40 .* 5%.*number_1\.png.*number_3\.png"):
        taken(batches, 8)


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_readable_is_one_error(workers: int) -> None:
    batches = stream(Numbers(30, frozenset(range(30))), workers=workers)
    with pytest.raises(DataError, match="too many in a row") as caught:
        next(batches)
    assert "Traceback" not in str(caught.value)


def test_empty_data_are_refused() -> None:
    with pytest.raises(DataError, match="no sample"):
        stream(Numbers(0))
    with pytest.raises(DataError, match="no sample"):
        Validation(Lists(), Numbers(0), Settings(1, 2))


def test_validation_is_the_same_every_time_and_ends_with_a_small_batch() -> None:
    validation = Validation(Lists(), Numbers(7), Settings(1, 3, workers=2))
    once = list(validation)
    assert [len(batch) for batch in once] == [3, 3, 1]
    assert [index for batch in once for index, _ in batch] == list(range(7))
    assert list(validation) == once
    assert list(Validation(Lists(), Numbers(7), Settings(1, 3, seed=9, workers=0))) == once


def test_validation_names_what_it_replaces() -> None:
    validation = Validation(Lists(), Numbers(7, frozenset({2})), Settings(1, 3, workers=0))
    assert [index for batch in validation for index, _ in batch] == [0, 1, 3, 3, 4, 5, 6]
    assert list(validation.bad) == [2]


def test_a_killed_worker_is_a_named_error_not_a_hang() -> None:
    system = toy.register().Toy(toy.tiny())
    validation = Validation(system, toy.Faces(21, deadly=3), Settings(1, 2, workers=1))
    with pytest.raises(DataError, match=r"a data worker died .*worker \(pid.*--workers"):
        list(validation)


def test_workers_ignore_ctrl_c_and_obey_sigterm() -> None:
    from pentimento.engine.data import _init_worker

    pid = os.fork()
    if pid == 0:
        _init_worker(0)
        os.kill(os.getpid(), 2)
        os.kill(os.getpid(), 15)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -15


@dataclass(frozen=True)
class Inner:
    x: Tensor


@dataclass(frozen=True)
class Outer:
    inner: list[Inner]
    named: dict[str, Tensor]
    name: str


def test_structures_keep_their_shape_when_their_tensors_move() -> None:
    half = torch.ones(2, dtype=torch.bfloat16)
    outer = Outer([Inner(half)], {"n": torch.ones(1, dtype=torch.int64)}, "face")
    moved = to_device(outer, torch.device("meta"))
    assert moved.inner[0].x.device.type == moved.named["n"].device.type == "meta"
    raised = as_float32((outer, half))
    assert raised[0].inner[0].x.dtype == raised[1].dtype == torch.float32
    assert raised[0].named["n"].dtype == torch.int64
    assert raised[0].name == "face"
