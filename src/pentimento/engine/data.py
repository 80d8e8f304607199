"""Which samples a step uses: a pure function of the seed and of the place in the stream.

The stream is endless: epoch after epoch, each in an order of its own. Batch `b` of rank `r` takes
the places `(b·world + r)·size …`; a place decides its sample and the generator of all its
randomness. So a run continues in the middle of an epoch by naming one number, with any number of
workers.
"""

import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import count
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pentimento.engine.settings import Settings
from pentimento.engine.system import Dataset, System
from pentimento.errors import DataError

_ORDER: Final = 1  # first words of the seeds: order, training samples, validation samples
_TRAIN: Final = 2
_VALIDATE: Final = 3
_TRIES: Final = 8
_MAX_BAD_SHARE: Final = 0.05


@dataclass(frozen=True)
class _Drawn:
    """A sample (or None), and what was wrong with those that it replaces: index → message."""

    sample: Any | None
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
        return _Drawn(None, bad)


@dataclass(frozen=True)
class _Collate:
    """Samples → the system's batch, and the bad ones met on the way; runs in the workers."""

    system: System[Any]

    def __call__(self, drawn: Sequence[_Drawn]) -> tuple[Any | None, dict[int, str]]:
        bad = {index: message for each in drawn for index, message in each.bad.items()}
        samples = [each.sample for each in drawn if each.sample is not None]
        return self.system.collate(samples) if len(samples) == len(drawn) else None, bad


def _init_worker(_: int) -> None:
    """Leave Ctrl-C to the trainer, and die of SIGTERM even where the trainer catches it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _batches(
    system: System[Any], draws: _Draws, places: Iterable[list[int]], workers: int
) -> Iterator[tuple[Any | None, dict[int, str]]]:
    # Workers collate with the system, and need nothing of it but its configuration.
    light = copy(system)
    light.networks, light.optimizers = nn.ModuleDict(), {}
    loader: DataLoader[Any] = DataLoader(
        draws,
        batch_sampler=places,
        collate_fn=_Collate(light),
        num_workers=workers,
        worker_init_fn=_init_worker,
        generator=torch.Generator(),  # else the loader would draw from the run's own
    )
    with warnings.catch_warnings():
        # More workers than cores is the person's choice; they also wait for disks.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        return iter(loader)


class Stream:
    """The training batches of one rank, from batch number `start` on, without an end.

    Attributes:
        bad: index → message of the samples that could not be read so far.
    """

    def __init__(
        self,
        system: System[Any],
        data: Dataset[Any],
        settings: Settings,
        *,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        bad: Mapping[int, str] | None = None,
    ) -> None:
        if len(data) == 0:
            raise DataError("the training data hold no sample")
        size = settings.batch_size
        places = (
            list(range((batch * world + rank) * size, (batch * world + rank + 1) * size))
            for batch in count(start)
        )
        self.bad: dict[int, str] = dict(bad or {})
        self._news: list[str] = []
        self._size = len(data)
        draws = _Draws(data, settings.seed, _TRAIN)
        self._batches = _batches(system, draws, places, settings.workers)

    def __next__(self) -> Any:
        """Return the next batch, on the CPU; DataError if more than 5 % of the data are bad."""
        batch, bad = next(self._batches)
        fresh = bad.keys() - self.bad.keys()
        self._news += [f"sample {index} is replaced: {bad[index]}" for index in sorted(fresh)]
        self.bad |= bad
        if batch is None or len(self.bad) > _MAX_BAD_SHARE * self._size:
            raise DataError(
                f"{len(self.bad)} of {self._size} samples could not be read, more than "
                f"{_MAX_BAD_SHARE:.0%} or too many in a row; {describe_bad(self.bad)}"
            )
        return batch

    def close(self) -> None:
        """End the workers now, not at the interpreter's exit, where their end would be an error."""
        self._batches = iter(())

    def news(self) -> list[str]:
        """Return what to tell about samples that were found bad since the last call."""
        news, self._news = self._news, []
        return news


class Validation:
    """The first samples of a split in their own order, the same whenever it is iterated.

    Attributes:
        bad: index → message of the samples that could not be read; the next ones stand in.
    """

    def __init__(
        self,
        system: System[Any],
        data: Dataset[Any],
        settings: Settings,
        *,
        limit: int | None = None,
    ) -> None:
        if len(data) == 0:
            raise DataError("the validation data hold no sample")
        self.bad: dict[int, str] = {}
        self._system, self._draws, self._settings = system, _Draws(data, 0, _VALIDATE), settings
        self._total = min(limit or settings.validate_samples, len(data))

    def __iter__(self) -> Iterator[Any]:
        """Yield batches, on the CPU; the last may be smaller."""
        size, total = self._settings.batch_size, self._total
        places = [list(range(at, min(at + size, total))) for at in range(0, total, size)]
        workers = min(self._settings.workers, len(places) - 1)  # not worth a process for one batch
        with naming_dead_workers():
            for batch, bad in _batches(self._system, self._draws, places, workers):
                self.bad |= bad
                if batch is None:
                    raise DataError(f"validation samples are broken; {describe_bad(self.bad)}")
                yield batch


@contextmanager
def naming_dead_workers() -> Iterator[None]:
    """Name a worker's death; torch reports it wherever the trainer happens to be."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        # The broken pipe of a worker may be noticed before its death is.
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise DataError(
            f"a data worker died ({str(error).splitlines()[0]}). Lack of memory is the usual "
            "reason: give fewer --workers or a smaller --batch-size, and continue with --resume."
        ) from error


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
