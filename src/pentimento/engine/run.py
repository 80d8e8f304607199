"""One run: its records and checkpoints, going back to them, and measuring on the way.

RUN/run.json        what it depends on beside config.json: settings, data, versions, commit
RUN/config.json, model.safetensors, card.md     the latest model (see `models.py`)
RUN/best/           the model that validated best
RUN/checkpoints/    the last two, from which a run continues bit by bit
RUN/metrics.jsonl, tensorboard/, samples/       what it told
"""

import contextlib
import json
import math
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from torch import nn

import pentimento
from pentimento import catalog, models
from pentimento.config import differences, to_json
from pentimento.engine import checkpoint, rng, storage
from pentimento.engine.averages import Averages
from pentimento.engine.data import Validation, describe_bad, to_device
from pentimento.engine.log import Log
from pentimento.engine.processes import any_rank, gather, share_buffers
from pentimento.engine.settings import FREE, Settings
from pentimento.engine.system import Dataset, System
from pentimento.engine.update import Optimizers
from pentimento.errors import TrainingError

RECORD_FILE: Final = "run.json"
_MAX_ROLLBACKS: Final = 3
_SHEET_SAMPLES: Final = 6


@dataclass
class Progress:
    """Where a run is; part of every checkpoint.

    Attributes:
        step: optimizer steps done.
        cursor: batches drawn by each process; after a rollback it runs ahead of `step`, so that
            the run does not meet the same batches again.
        skipped: steps skipped for values that were not finite, in all.
        in_a_row: steps skipped since the last good one.
        rollbacks: returns to a checkpoint since the last checkpoint.
        best: step and score of the best validation.
        bad: index → message of samples that could not be read (this process's).
    """

    step: int = 0
    cursor: int = 0
    skipped: int = 0
    in_a_row: int = 0
    rollbacks: int = 0
    best: tuple[int, float] | None = None
    bad: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What saving, restoring and measuring need together. All processes call every method."""

    folder: Path
    fabric: Fabric
    system: System[Any]
    settings: Settings
    record: Mapping[str, Any]
    optimizers: Optimizers
    averages: Averages
    progress: Progress

    def begin(self, *, resume: bool, accept_changes: bool) -> list[str]:
        """Start a new run or continue one; return what a person should know about it."""
        notices: list[str] = []
        if resume:
            notices = self.restore(accept_changes=accept_changes)
        elif any_rank(self.fabric, checkpoint.present(self.folder / "checkpoints")):
            raise TrainingError(
                f"{self.folder} already holds a run. Continue it with: "
                f"pentimento train --resume {self.folder}, or choose another --out"
            )
        self.fabric.barrier()
        if self.fabric.global_rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            told = {key: value for key, value in self.record.items() if key != "config"}
            text = json.dumps(told, indent=2) + "\n"
            storage.replace(self.folder / RECORD_FILE, text.encode())
        if not resume:
            if self.fabric.global_rank == 0:
                self._export(self.folder)  # before the checkpoint: what has one can be resumed
            self.save()  # step 0: a place to fall back to, and a full disk shows now
        return notices

    def save(self) -> None:
        """Write a checkpoint, and the averaged networks as the folder's latest model."""
        share_buffers(self.fabric, self.system.networks)
        self.progress.rollbacks = 0
        own = {f"rng.{key}": value for key, value in rng.capture().items()}
        own |= {f"extra.{key}": value for key, value in self.system.extra_state().items()}
        bad = bytearray(json.dumps(self.progress.bad).encode())
        own["bad"] = torch.frombuffer(bad, dtype=torch.uint8)
        ranks = gather(self.fabric, models.serialise(own))
        if self.fabric.global_rank == 0:
            shared = {key: value for key, value in asdict(self.progress).items() if key != "bad"}
            files = {
                "networks.safetensors": models.serialise(models.weights(self.system.networks)),
                "averages.safetensors": models.serialise(self.averages.tensors),
                "optimizers.safetensors": models.serialise(self.optimizers.state()),
                "progress.json": json.dumps(shared).encode(),
                "record.json": json.dumps(self.record).encode(),
                **{f"rank_{rank}.safetensors": data for rank, data in enumerate(ranks)},
            }
            checkpoint.save(self.folder / "checkpoints", self.progress.step, files)
            self._export(self.folder)
        self.fabric.barrier()

    def restore(self, *, accept_changes: bool = True) -> list[str]:
        """Return to the newest valid checkpoint; return what a person should know about it."""
        folder = self.folder / "checkpoints"
        files, refused = checkpoint.newest(folder)
        then = json.loads(files["record.json"])
        changed = differences(_weighty(then), _weighty(self.record))
        if changed and not accept_changes:
            raise TrainingError(
                f"{self.folder} was trained with other settings: {'; '.join(changed)}. Restore "
                "them, or consent to the new ones with --accept-config-change"
            )
        tensors = {
            name: models.deserialise(data, f"{folder}: {name}")
            for name, data in files.items()
            if name.endswith(".safetensors")
        }
        models.restore(self.system.networks, tensors["networks.safetensors"], str(folder))
        self.averages.load(tensors["averages.safetensors"])
        self.optimizers.load_state(tensors["optimizers.safetensors"])
        # With more processes than then, the additional ones start from the last one's state.
        rank = min(self.fabric.global_rank, then["processes"] - 1)
        own = tensors[f"rank_{rank}.safetensors"]
        parts: dict[str, dict[str, Any]] = {"extra": {}, "rng": {}}
        for key, value in own.items():
            part, _, rest = key.partition(".")
            parts.setdefault(part, {})[rest] = value
        self.system.load_extra_state(parts["extra"])
        rng.restore(parts["rng"])
        vars(self.progress).update(json.loads(files["progress.json"]))
        self.progress.best = self.progress.best and (*self.progress.best,)
        bad = json.loads(own["bad"].numpy().tobytes())
        self.progress.bad = {int(index): message for index, message in bad.items()}
        return [
            *(f"refused: {reason}" for reason in refused),
            *(f"changed: {line}" for line in changed),
            *(
                f"changed: {line} (the result may differ in its last bits)"
                for line in differences(then["versions"], self.record["versions"])
            ),
            f"continuing {self.folder} at step {self.progress.step}",
        ]

    def roll_back(self, reason: str) -> str:
        """Return to the last checkpoint, but not to its place in the data; say so."""
        now = Progress(**vars(self.progress))
        if now.rollbacks >= _MAX_ROLLBACKS:
            raise TrainingError(
                f"{reason} at step {now.step}, after {now.rollbacks} returns to the checkpoint "
                "before it. The run diverges: lower the learning rate, give --clip, or use "
                "--precision 32"
            )
        self.optimizers.discard()
        self.restore()
        self.progress.rollbacks = now.rollbacks + 1
        self.progress.in_a_row = 0
        # The data run on, so that the same batches do not fail again; what was counted stays.
        self.progress.cursor, self.progress.bad = now.cursor, now.bad
        self.progress.skipped, self.progress.best = now.skipped, now.best
        return f"{reason} at step {now.step}: back to step {self.progress.step}"

    def save_if_finite(self) -> str | None:
        """Save; or roll back and say so where a network is broken.

        A step that was skipped leaves the parameters alone, but its forward pass may have put
        values that are not finite into a running mean.
        """
        if any_rank(self.fabric, not _finite(self.system.networks)):
            return self.roll_back("a network holds values that are not finite")
        self.save()
        return None

    def validate(self, data: Dataset[Any], log: Log) -> None:
        """Measure the averaged networks; keep them as `RUN/best` if they score best so far."""
        if self.fabric.global_rank == 0:
            step, best = self.progress.step, self.progress.best
            with self.averages.in_place():
                validation = Validation(self.system, data, self.settings)
                metrics = evaluate(self.system, validation, self.fabric.device)
                whole = _finite(self.system.networks)
            log.write(step, "validate", metrics)
            shown = "  ".join(f"{key} {value:.4g}" for key, value in metrics.items())
            name, direction = self.system.score
            score = metrics[name]
            sign = 1 if direction == "max" else -1
            better = math.isfinite(score) and (best is None or sign * (score - best[1]) > 0)
            if better and whole and self.progress.in_a_row == 0:
                self.progress.best = (step, score)
                self._export(self.folder / "best")
                shown += f"  (best {name} so far)"
            log.say(f"step {step}/{self.settings.steps}  validate  {shown}")
            if validation.bad:
                log.say(f"validation replaced {describe_bad(validation.bad)}")
        self.fabric.barrier()

    def draw_sheet(self, data: Dataset[Any], log: Log) -> None:
        """Draw a sheet of the first validation samples by the averaged networks."""
        if self.fabric.global_rank == 0:
            few = replace(self.settings, batch_size=_SHEET_SAMPLES, workers=0)
            first = Validation(self.system, data, few, limit=_SHEET_SAMPLES)
            with self.averages.in_place(), measuring(self.system.networks):
                batch = to_device(next(iter(first)), self.fabric.device)
                log.sheet(self.progress.step, self.system.samples(batch))
        self.fabric.barrier()

    def _export(self, folder: Path) -> None:
        with self.averages.in_place():
            models.save(self.system, folder, _card(self.record, self.progress))


def evaluate(system: System[Any], validation: Validation, device: torch.device) -> dict[str, float]:
    """Return `system.validate` over validation batches; training does not notice."""
    with measuring(system.networks):
        return system.validate(to_device(batch, device) for batch in validation)


@contextlib.contextmanager
def measuring(networks: nn.ModuleDict) -> Iterator[None]:
    """Evaluation mode, no gradients, and random generators of its own for a while."""
    modes = {name: network.training for name, network in networks.items()}
    networks.eval()
    try:
        with torch.no_grad(), rng.kept(0):
            yield
    finally:
        for name, network in networks.items():
            network.train(modes[name])


def describe(
    system: System[Any],
    settings: Settings,
    train: Dataset[Any],
    processes: int,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the record of a run: everything it depends on, and by what it was started."""
    packages = ("torch", "numpy", "lightning-fabric", "safetensors", "pydantic")
    return {
        "format": 1,
        "system": catalog.name_of(type(system)),
        "config": to_json(system.config),
        "settings": to_json(settings) | {"devices": processes},  # also where torchrun said so
        "about": dict(about),
        "samples": len(train),
        "processes": processes,
        "versions": {
            "pentimento": pentimento.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "commit": _commit(),
        "command": _command(),
    }


def _weighty(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record that decides over the weights."""
    names = ("system", "config", "about", "samples", "processes")
    settings = {key: value for key, value in record["settings"].items() if key not in FREE}
    return {**{name: record[name] for name in names}, "settings": settings}


def _command() -> str:
    """Return the command line, the program without its folder."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "pentimento")
    return shlex.join([program, *sys.argv[1:]])


def _commit() -> str | None:
    """Return the commit of the repository we stand in, `+` appended if it has changes."""
    git = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _card(record: Mapping[str, Any], progress: Progress) -> str:
    """Return the card of a run's model: what made it and what it scored so far."""
    settings = record["settings"]
    score = f"{progress.best[1]:.5g} at step {progress.best[0]}" if progress.best else "none yet"
    about = "".join(f"- {key}: {value}\n" for key, value in record["about"].items() if value)
    return (
        f"# {record['system']}, step {progress.step} of {settings['steps']}\n\n{about}"
        f"- best validation: {score}\n"
        f"- seed {settings['seed']}, batch {settings['batch_size']} × {record['processes']} "
        f"processes × {settings['accumulate']}, precision {settings['precision']}\n"
        f"- commit: {record['commit'] or 'none'}\n- command: `{record['command']}`\n"
    )


def _finite(networks: nn.ModuleDict) -> bool:
    tensors = [t for t in models.weights(networks).values() if t.is_floating_point()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
