"""The state of every random generator that a training step may draw from, as tensors."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def seed(number: int) -> None:
    """Seed torch (CPU and GPU), numpy's and Python's global generators."""
    torch.manual_seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002  # the global one is what must be pinned
    random.seed(number)


def capture() -> dict[str, Tensor]:
    """Return the state of all generators."""
    words = np.random.get_state(legacy=False)  # noqa: NPY002
    assert isinstance(words, dict)
    _, python, python_gauss = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(words["state"]["key"].astype(np.int64)),
        "numpy.position": torch.tensor([words["state"]["pos"], words["has_gauss"]]),
        "numpy.gauss": torch.tensor([words["gauss"]], dtype=torch.float64),
        "python": torch.tensor(python),
        "python.gauss": torch.tensor(
            [] if python_gauss is None else [python_gauss], dtype=torch.float64
        ),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore(state: Mapping[str, Tensor]) -> None:
    """Put all generators into a captured state."""
    torch.set_rng_state(state["torch"])
    position, has_gauss = state["numpy.position"].tolist()
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": "MT19937",
            "state": {"key": state["numpy"].numpy().astype(np.uint32), "pos": position},
            "has_gauss": has_gauss,
            "gauss": state["numpy.gauss"].item(),
        }
    )
    python_gauss = state["python.gauss"].tolist()
    words = tuple(state["python"].tolist())
    random.setstate((3, words, python_gauss[0] if python_gauss else None))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def kept(number: int) -> Iterator[None]:
    """Seed all generators for a while; afterwards they go on as if nothing had happened."""
    state = capture()
    seed(number)
    try:
        yield
    finally:
        restore(state)
