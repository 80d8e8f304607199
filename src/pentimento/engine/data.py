"""Which samples a step uses: a pure function of the seed and of the place in the stream.

The stream is endless: epoch after epoch, each in an order of its own. Batch `b` of rank `r` takes
the places `(b·world + r)·size …`; a place decides its sample and the generator of all its
randomness. So a run continues in the middle of an epoch by naming one number, with any number of
workers.
"""

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import count
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pentimento.engine.system import Dataset, System
from pentimento.errors import DataError

_ORDER: Final = 1  # first words of the seeds: order, training samples, validation samples
_TRAIN: Final = 2
_VALIDATE: Final = 3
_TRIES: Final = 8
_MAX_BAD_SHARE: Final = 0.05


@dataclass(frozen=True)
class _Drawn:
    """A sample, and what was wrong with those that it replaces: index → message."""

    sample: Any
    bad: Mapping[int, str]


class _Draws(TorchDataset[_Drawn]):
    """Place in the stream → sample; a place whose sample is broken takes the next one instead."""

    def __init__(self, data: Dataset[Any], seed: int, purpose: int) -> None:
        self._data, self._seed, self._purpose = data, seed, purpose
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self._data)

    def _index(self, epoch: int, place: int) -> int:
        if self._purpose == _VALIDATE:
            return place
        if self._order[0] != epoch:
            order = np.random.default_rng([_ORDER, self._seed, epoch]).permutation(len(self))
            self._order = (epoch, order)
        return int(self._order[1][place])

    def __getitem__(self, position: int) -> _Drawn:
        epoch, place = divmod(position, len(self))
        bad: dict[int, str] = {}
        for attempt in range(min(_TRIES, len(self))):
            index = self._index(epoch, (place + attempt) % len(self))
            rng = np.random.default_rng([self._purpose, self._seed, epoch, place, attempt])
            try:
                return _Drawn(self._data.sample(index, rng), bad)
            except Exception as error:  # whatever a broken file makes its reader raise
                bad[index] = f"{type(error).__name__}: {error}"
        raise DataError(f"{len(bad)} samples in a row could not be read; {describe_bad(bad)}")


@dataclass(frozen=True)
class _Collate:
    """Samples → the system's batch, and the bad ones met on the way; runs in the workers."""

    system: System[Any]

    def __call__(self, drawn: Sequence[_Drawn]) -> tuple[Any, dict[int, str]]:
        bad = {index: message for each in drawn for index, message in each.bad.items()}
        return self.system.collate([each.sample for each in drawn]), bad


def _init_worker(_: int) -> None:
    """Leave Ctrl-C to the trainer, and die of SIGTERM even where the trainer catches it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _batches(
    system: System[Any], draws: _Draws, places: Iterable[Sequence[int]], workers: int
) -> Iterator[tuple[Any, dict[int, str]]]:
    loader: DataLoader[Any] = DataLoader(
        draws,
        batch_sampler=places,
        collate_fn=_Collate(system),
        num_workers=workers,
        worker_init_fn=_init_worker,
        generator=torch.Generator(),  # else the loader would draw from the run's own
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" in str(error):
            raise DataError(
                f"a data worker died ({error}). Out of memory is the usual reason: give fewer "
                "--workers or a smaller --batch-size, and continue with --resume."
            ) from error
        raise


class Stream:
    """The training batches of one rank, from batch number `start` on, without an end.

    Attributes:
        bad: index → message of the samples that could not be read so far.
    """

    def __init__(
        self,
        system: System[Any],
        data: Dataset[Any],
        *,
        seed: int,
        batch_size: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        bad: Mapping[int, str] | None = None,
    ) -> None:
        if len(data) == 0:
            raise DataError("the training data hold no sample")
        places = (
            range((batch * world + rank) * batch_size, (batch * world + rank + 1) * batch_size)
            for batch in count(start)
        )
        self.bad: dict[int, str] = dict(bad or {})
        self._size = len(data)
        self._batches = _batches(system, _Draws(data, seed, _TRAIN), places, workers)

    def __next__(self) -> Any:
        """Return the next batch, on the CPU; DataError if more than 5 % of the data are bad."""
        batch, bad = next(self._batches)
        self.bad |= bad
        if len(self.bad) > _MAX_BAD_SHARE * self._size:
            raise DataError(
                f"{len(self.bad)} of {self._size} samples cannot be read, more than "
                f"{_MAX_BAD_SHARE:.0%}; {describe_bad(self.bad)}"
            )
        return batch


def validation_batches(
    system: System[Any], data: Dataset[Any], *, batch_size: int, limit: int, workers: int = 0
) -> Iterator[Any]:
    """Yield the first `limit` samples in their own order, the same on every call."""
    total = min(limit, len(data))
    places = [range(at, min(at + batch_size, total)) for at in range(0, total, batch_size)]
    for batch, _ in _batches(system, _Draws(data, 0, _VALIDATE), places, workers):
        yield batch


def describe_bad(bad: Mapping[int, str]) -> str:
    """Name the first few bad samples for a message."""
    named = [f"sample {index}: {message}" for index, message in sorted(bad.items())[:3]]
    return "; ".join(named) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a batch: a tensor, a dataclass, or lists, tuples and dicts of them."""
    return _on_tensors(batch, lambda tensor: tensor.to(device, non_blocking=True))


def as_float32(value: Any) -> Any:
    """Return the same structure with its floating-point tensors in float32."""
    return _on_tensors(value, lambda each: each.float() if each.is_floating_point() else each)


def _on_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {each.name: getattr(value, each.name) for each in fields(value)}
        return replace(value, **_on_tensors(parts, function))
    if isinstance(value, list | tuple):
        return type(value)(_on_tensors(item, function) for item in value)
    if isinstance(value, dict):
        return {key: _on_tensors(item, function) for key, item in value.items()}
    return value
