"""A small GAN with everything that makes resuming hard, listed as the system `toy`.

Run as a script it is the command line with that system in the catalogue.
"""

import importlib.util
import os
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor, nn

from pentimento.engine.schedules import linear_decay
from pentimento.engine.system import OptimizerSpec, Terms, Update

POOL = 6


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    width: int = 4
    batch_size: int = 2
    steps: int = 12
    nan_from: int = -1
    nan_to: int = -1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")


def tiny() -> Config:
    return Config()


PRESETS = {"tiny": tiny}


@dataclass(frozen=True)
class Batch:
    image: Tensor  # (B, 3, 8, 8)


@dataclass(frozen=True)
class Faces:
    """`good` samples; index `broken` cannot be read, index `deadly` kills its worker."""

    size: int = 21
    broken: frozenset[int] = frozenset()
    deadly: int = -1

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        if index in self.broken:
            raise OSError(f"face_{index}.png: truncated")
        if index == self.deadly:
            os.kill(os.getpid(), 9)
        noise = rng.normal(0, 0.05, (3, 8, 8))
        return np.float32(np.sin(np.arange(192).reshape(3, 8, 8) * (index + 1)) + noise)


def open_data(spec: str, split: str, config: Config) -> Faces:
    if spec.startswith("broken"):
        return Faces(40, frozenset(range(int(spec.removeprefix("broken")))))
    return Faces(21 if split == "train" else 5, deadly=3 if spec == "deadly" else -1)


class Toy:
    def __init__(self, config: Config) -> None:
        self.config = config
        w = config.width
        self.networks = nn.ModuleDict(
            {
                "generator": nn.Sequential(
                    nn.Conv2d(3, w, 3, 1, 1),
                    nn.BatchNorm2d(w),
                    nn.ReLU(),
                    nn.Dropout(0.5),
                    nn.Conv2d(w, 3, 3, 1, 1),
                ),
                "rare": nn.Conv2d(3, 3, 1),
                "critic": nn.utils.spectral_norm(nn.Conv2d(3, 1, 4, 2)),
                "judge": nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)),
            }
        )
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "critic": OptimizerSpec(("critic",), 1e-2, (0.5, 0.999)),
            "generator": OptimizerSpec(
                ("generator", "rare"), 1e-2, (0.5, 0.999), schedule=linear_decay(0.5)
            ),
        }
        self.averaged = ("generator",)
        self.batch_size, self.steps = config.batch_size, config.steps
        self.score = ("error", "min")
        self.pool = torch.zeros(0, 3, 8, 8)
        self.calls = 0

    def collate(self, samples: Sequence[Any]) -> Batch:
        return Batch(torch.from_numpy(np.stack(samples)))

    def _pooled(self, fake: Tensor) -> Tensor:
        if len(self.pool) < POOL:
            self.pool = torch.cat([self.pool.to(fake.device), fake])
            return fake
        place = random.randrange(len(self.pool))
        old = self.pool[place : place + 1].clone()
        self.pool[place] = fake[0]
        return torch.cat([old, fake[1:]]) if np.random.rand() < 0.5 else fake  # noqa: NPY002

    def train_step(self, batch: Batch, update: Update) -> Terms:
        net = self.networks
        self.calls += 1
        if str(self.calls) == os.environ.get("TOY_KILL_AT"):
            os.kill(os.getpid(), int(os.environ.get("TOY_SIGNAL", "9")))
        noisy = batch.image + 0.1 * torch.randn_like(batch.image)
        fake = net["generator"](noisy)
        if self.calls % 3 == 0:  # parameters that only some steps use
            fake = fake + net["rare"](noisy)
        seen = self._pooled(fake.detach())
        critic = {"critic": (net["critic"](seen) - net["critic"](batch.image)).mean()}
        update("critic", critic)
        generator = {
            "adversarial": -0.1 * net["critic"](fake).mean(),
            "judge": 0.1 * net["judge"](fake).square().mean(),
            "l1": (fake - batch.image).abs().mean(),
        }
        if self.config.nan_from <= self.calls < self.config.nan_to:
            generator["l1"] = generator["l1"] * float("nan")
        update("generator", generator)
        return critic | generator

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        errors = [(self.networks["generator"](b.image) - b.image).abs().mean() for b in batches]
        return {"error": float(torch.stack(errors).mean())}

    def samples(self, batch: Batch) -> Tensor:
        fake = self.networks["generator"](batch.image)
        return torch.stack([batch.image, fake], 1) * 0.5 + 0.5

    def extra_state(self) -> dict[str, Tensor]:
        return {"pool": self.pool, "calls": torch.tensor(self.calls)}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        self.pool, self.calls = state["pool"], int(state["calls"])

    def predict(self, image: Tensor) -> Tensor:
        return self.networks["generator"](image)


def register() -> Any:
    """List this file as the system `toy` and return it under its catalogue name."""
    from pentimento.catalog import CATALOG, Row

    name = "pentimento.systems.toy"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    CATALOG["toy"] = Row("toy:Toy", "generate", "a toy for tests")
    return sys.modules[name]


if __name__ == "__main__":
    from pentimento.cli import main

    register()
    main()
