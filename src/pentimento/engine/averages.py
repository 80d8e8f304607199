"""Exponential moving averages of networks (Karras et al. 2018, section 4: the generator's)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Averages:
    """Averages of the parameters of some networks; buffers follow the network as they are.

    Attributes:
        tensors: `<network>.<key>` → average.
    """

    def __init__(self, networks: nn.ModuleDict, names: Sequence[str], decay: float) -> None:
        self._decay = decay
        self._live = {
            f"{name}.{key}": tensor
            for name in names
            for key, tensor in networks[name].state_dict().items()
        }
        self._moving = [
            f"{name}.{key}" for name in names for key, _ in networks[name].named_parameters()
        ]
        self.tensors = {key: tensor.clone() for key, tensor in self._live.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the networks after their step number `step` (1, 2, …)."""
        if self._moving:
            decay = min(self._decay, (1 + step) / (10 + step))
            move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # has no types
            move(
                [self.tensors[key] for key in self._moving],
                [self._live[key] for key in self._moving],
                step,
            )
        for key in self.tensors.keys() - set(self._moving):
            self.tensors[key].copy_(self._live[key])

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back stored averages."""
        for key, average in self.tensors.items():
            average.copy_(tensors[key])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages into the networks for a while; afterwards every bit is as before."""
        kept = {key: tensor.clone() for key, tensor in self._live.items()}
        with torch.no_grad():
            for key, tensor in self._live.items():
                tensor.copy_(self.tensors[key])
        try:
            yield
        finally:
            with torch.no_grad():
                for key, tensor in self._live.items():
                    tensor.copy_(kept[key])
