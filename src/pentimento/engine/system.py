"""What the engine asks of a system, and what it gives to one.

A system is a plain class in one file. It owns networks and says, in `train_step`, what is detached,
what is frozen and what is updated, in order. Everything mechanical (backward, precision, gradient
accumulation, optimizers, schedules, averages, distribution, checkpoints) is the engine's and is
reached through one call, `update(name, terms)`.

Beside its class, a system's module holds three names that the command line and the tests use:
`Config` (a frozen pydantic dataclass with at least `steps` and `batch_size`), `PRESETS`
(`{"tiny": tiny, "compact": compact, …}`, functions without arguments that return a `Config`) and
`open_data(spec, split, config)`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

BatchT = TypeVar("BatchT")
SampleT_co = TypeVar("SampleT_co", covariant=True)

Terms = Mapping[str, Tensor]
"""Named scalar losses, already weighted: what is optimised is their plain sum."""

Split = Literal["train", "val"]


class Update(Protocol):
    """The engine's hand: one optimizer step on one group of networks."""

    def __call__(self, name: str, terms: Terms) -> None:
        """Sum the terms, back-propagate and step the optimizer called `name`.

        Gradients are computed for the group's own parameters only; other networks need neither
        freezing nor clearing. Under gradient accumulation the step happens at the last of the
        accumulated batches; with non-finite terms or gradients it is skipped and counted.
        """


@dataclass(frozen=True)
class OptimizerSpec:
    """One Adam optimizer over one or more networks.

    Attributes:
        networks: keys of `System.networks` whose parameters it owns.
        lr: learning rate before the schedule.
        betas: Adam's running-average coefficients.
        weight_decay: decoupled weight decay.
        schedule: factor on `lr` as a function of the share of the run that is done, in [0, 1).
    """

    networks: tuple[str, ...]
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: Callable[[float], float] = lambda done: 1.0


class Dataset(Protocol[SampleT_co]):
    """A finite list of samples that can be drawn in any order by any worker."""

    def __len__(self) -> int:
        """Return the number of samples of one epoch."""
        ...

    def sample(self, index: int, rng: np.random.Generator) -> SampleT_co:
        """Return sample `index`; all randomness (augmentation) comes from `rng`."""
        ...


class System(Protocol[BatchT]):
    """A trainable, measurable, loadable model.

    Attributes:
        config: the frozen configuration it was built from; enough to build it again.
        networks: name → network. The engine moves, wraps and saves them under these names; call
            them only through this mapping's values so that precision and strategy apply.
        optimizers: name → specification; the names are those given to `update`.
        averaged: names of networks of which the engine keeps an exponential moving average; that
            average is what `model.safetensors` holds and what validation uses.
        batch_size: samples per step and process.
        steps: length of a full run of this configuration.
        score: metric of `validate` that decides which checkpoint is best, and its direction.
    """

    config: Any
    networks: nn.ModuleDict
    optimizers: Mapping[str, OptimizerSpec]
    averaged: tuple[str, ...]
    batch_size: int
    steps: int
    score: tuple[str, Literal["max", "min"]]

    def collate(self, samples: Sequence[Any]) -> BatchT:
        """Turn samples of `open_data` into a batch.

        Runs in the loader's workers, on the CPU, on a copy of the system without its networks.

        A batch is a frozen dataclass of tensors (and plain values); the engine moves its tensors.
        """
        ...

    def train_step(self, batch: BatchT, update: Update) -> Terms:
        """Do one step: forwards, losses, one or more `update` calls. Return the terms to log."""
        ...

    def validate(self, batches: Iterable[BatchT]) -> dict[str, float]:
        """Measure the networks as they are, without changing anything."""
        ...

    def samples(self, batch: BatchT) -> Tensor:
        """Return a sheet to look at: (rows, columns, 3, H, W) in [0, 1]."""
        ...

    def extra_state(self) -> dict[str, Tensor]:
        """Return what training needs beyond the networks (an image pool, counters), or {}."""
        ...

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `extra_state` returned; the tensors are on the CPU."""
        ...
