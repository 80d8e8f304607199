"""How a run is run; what is trained is the system's own `Config`."""

from dataclasses import field
from typing import Final, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

# A run may continue with other values of these: they do not touch a single weight.
FREE: Final = frozenset(
    {
        "save_every",
        "validate_every",
        "validate_samples",
        "sheet_every",
        "log_every",
        "workers",
        "devices",  # the number of processes is compared instead
    }
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Settings:
    """One run.

    Attributes:
        steps: length of the run; schedules stretch over it.
        batch_size: samples per forward pass and process.
        seed: of the initial weights, of the order of the data, of every augmentation.
        save_every: steps between checkpoints.
        validate_every: steps between validations; 0 validates at the end only.
        validate_samples: at most so many samples of the validation split are measured.
        sheet_every: steps between sample sheets; 0 draws one at the end only.
        log_every: steps between lines of the log.
        precision: `32`, or `bf16`: forwards under autocast, losses and weights in float32.
        devices: processes on this machine (under `torchrun` its own numbers win).
        accelerator: `auto` uses a GPU when there is one.
        workers: processes that prepare data beside each training process; the data do not depend
            on their number.
        accumulate: batches per optimizer step.
        clip: largest norm of one update's gradient, or None.
        average_decay: of the moving averages, reached after a warm-up (1+t)/(10+t).
        patience: so many skipped steps in a row send the run back to its last checkpoint.
    """

    steps: int
    batch_size: int
    seed: int = 0
    save_every: int = 500
    validate_every: int = 500
    validate_samples: int = 200
    sheet_every: int = 500
    log_every: int = 20
    precision: Literal["32", "bf16"] = "32"
    devices: int = 1
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 2
    accumulate: int = 1
    clip: float | None = field(default=None)
    average_decay: float = 0.999
    patience: int = 10

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        for name in ("steps", "batch_size", "save_every", "log_every", "devices", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("seed", "validate_every", "sheet_every", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.validate_samples < 1 or self.patience < 1:
            raise ValueError("validate_samples and patience must be at least 1")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"clip must be positive, got {self.clip}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {self.average_decay}")
