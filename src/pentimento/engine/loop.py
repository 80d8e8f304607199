"""The training loop: `fit` reads from top to bottom; everything it calls is beside it.

settings.py    how a run is run          data.py        which samples a step uses
update.py      one optimizer step        averages.py    moving averages
checkpoint.py  survives a kill           log.py         what a run tells
"""

import contextlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import pentimento
from pentimento import catalog, models
from pentimento.config import differences, to_json
from pentimento.engine import checkpoint, rng, storage
from pentimento.engine.averages import Averages
from pentimento.engine.data import (
    Stream,
    as_float32,
    describe_bad,
    to_device,
    validation_batches,
)
from pentimento.engine.log import Log
from pentimento.engine.settings import FREE, Settings
from pentimento.engine.system import Dataset, System
from pentimento.engine.update import Optimizers
from pentimento.errors import TrainingError

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
class Outcome:
    """How a run ended.

    Attributes:
        step: steps done.
        best: step and score of the best validation, or None.
        skipped: steps skipped for values that were not finite.
        bad: samples that could not be read.
        signal: the signal that asked it to stop early, or None at its natural end.
    """

    step: int
    best: tuple[int, float] | None
    skipped: int
    bad: Mapping[int, str]
    signal: int | None


def fit(
    system: System[Any],
    run: str | Path,
    train: Dataset[Any],
    validation: Dataset[Any],
    settings: Settings,
    *,
    about: Mapping[str, Any] | None = None,
    resume: bool = False,
    accept_changes: bool = False,
) -> Outcome:
    """Train a system to the end of its run, or until SIGINT or SIGTERM.

    Args:
        system: as built from its configuration under `settings.seed`; trained in place.
        run: the run's folder.
        train: training samples.
        validation: samples of `validate` and of the sheets.
        settings: how to run.
        about: what else belongs in the run's records (where the data come from, the preset).
        resume: continue the run in that folder; else it must be new.
        accept_changes: continue although configuration or settings changed.

    Raises:
        TrainingError: diverged for good; or the folder does not fit what was asked.
        CheckpointError: a checkpoint could not be written, or none could be read.
        DataError: too many samples are broken, or a data worker died.
    """
    run = Path(run)

    # ---- processes, device, precision
    fabric = launch(settings)
    record = _record(system, settings, train, fabric.world_size, about or {})
    main = fabric.global_rank == 0
    rng.seed(settings.seed + 1 + fabric.global_rank)
    _place(fabric, system, settings)
    optimizers = Optimizers(
        fabric,
        system.networks,
        system.optimizers,
        accumulate=settings.accumulate,
        clip=settings.clip,
    )
    averages = Averages(system.networks, system.averaged, settings.average_decay)
    progress = Progress()
    job = _Job(fabric, system, run, settings, record, optimizers, averages, progress)

    # ---- a new run, or the newest checkpoint that is whole
    notices: list[str] = []
    if resume:
        notices = job.restore(accept_changes=accept_changes)
    elif main and (run / "checkpoints").exists():
        raise TrainingError(
            f"{run} already holds a run. Continue it with: pentimento train --resume {run}, "
            "or choose another --out"
        )
    if main:
        run.mkdir(parents=True, exist_ok=True)
        storage.replace(run / "run.json", (json.dumps(record, indent=2) + "\n").encode())
    if not resume:
        job.save()  # step 0: a place to fall back to, and a full disk shows now
    log = Log(run if main else None, step=progress.step, steps=settings.steps)
    for notice in notices:
        log.say(notice)
    stream = Stream(
        system,
        train,
        seed=settings.seed,
        batch_size=settings.batch_size,
        start=progress.cursor,
        rank=fabric.global_rank,
        world=fabric.world_size,
        workers=settings.workers,
        bad=progress.bad,
    )

    with contextlib.closing(log), _stop_signal() as stop:
        while progress.step < settings.steps:
            # ---- one step
            for micro in range(settings.accumulate):
                batch = to_device(next(stream), fabric.device)
                progress.cursor += 1
                optimizers.begin(
                    progress.step / settings.steps, last=micro == settings.accumulate - 1
                )
                log.add(system.train_step(batch, optimizers))
            progress.bad = stream.bad
            progress.step += 1

            # ---- not finite: skipped, counted, and after too many in a row back to the last good
            if optimizers.skipped:
                progress.skipped += 1
                progress.in_a_row += 1
                log.say(
                    f"step {progress.step}: values that are not finite; "
                    f"skipped {', '.join(optimizers.skipped)} ({progress.in_a_row} in a row)"
                )
                if progress.in_a_row >= settings.patience:
                    log.say(job.roll_back("too many steps in a row were not finite"))
                    continue
            else:
                progress.in_a_row = 0
            averages.follow(progress.step)

            # ---- tell, measure, keep
            step, ended = progress.step, progress.step == settings.steps
            stopping = _any_rank(fabric, bool(stop))
            if step % settings.log_every == 0 or ended:
                counts = {"skipped": progress.skipped, "bad_samples": len(progress.bad)}
                per_step = settings.batch_size * settings.accumulate * fabric.world_size
                log.train(step, per_step, counts)
            if _due(step, settings.validate_every, ended):
                job.validate(validation, log)
            if _due(step, settings.sheet_every, ended):
                job.draw_sheet(validation, log)
            if step % settings.save_every == 0 or ended or stopping:
                if not job.healthy():
                    log.say(job.roll_back("a network holds values that are not finite"))
                    continue
                job.save()
            if stopping and not ended:
                log.say(
                    f"stopped at step {step}, saved; continue with: pentimento train --resume {run}"
                )
                break
        if progress.bad:
            log.say(f"{len(progress.bad)} samples were skipped; {describe_bad(progress.bad)}")
    received = stop[0] if stop and progress.step < settings.steps else None
    return Outcome(progress.step, progress.best, progress.skipped, progress.bad, received)


@dataclass(frozen=True)
class _Job:
    """What saving, restoring and measuring need together."""

    fabric: Fabric
    system: System[Any]
    run: Path
    settings: Settings
    record: Mapping[str, Any]
    optimizers: Optimizers
    averages: Averages
    progress: Progress

    def save(self) -> None:
        """Write a checkpoint and make `RUN/model.safetensors` the latest; all processes call it."""
        _share_buffers(self.fabric, self.system.networks)
        state = {f"rng.{key}": value for key, value in rng.capture().items()}
        state |= {f"extra.{key}": value for key, value in self.system.extra_state().items()}
        state["bad"] = torch.frombuffer(
            bytearray(json.dumps(self.progress.bad).encode()), dtype=torch.uint8
        )
        ranks = _gather(self.fabric, models.serialise(state))
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
            checkpoint.save(self.run / "checkpoints", self.progress.step, files)
            self.export(self.run)
        self.progress.rollbacks = 0
        self.fabric.barrier()

    def export(self, folder: Path) -> None:
        """Write the averaged networks as a model folder."""
        with self.averages.in_place():
            models.save(self.system, folder, _card(self.record, self.progress))

    def restore(self, *, accept_changes: bool = True) -> list[str]:
        """Return to the newest valid checkpoint; return what a person should know about it."""
        files, refused = checkpoint.newest(self.run / "checkpoints")
        then = json.loads(files["record.json"])
        changed = differences(_weighty(then), _weighty(self.record))
        if changed and not accept_changes:
            raise TrainingError(
                f"{self.run} was trained with other settings: {'; '.join(changed)}. Restore them, "
                "or consent to the new ones with --accept-config-change"
            )
        name = str(self.run / "checkpoints")
        models.restore(
            self.system.networks, models.deserialise(files["networks.safetensors"], name), name
        )
        self.averages.load(models.deserialise(files["averages.safetensors"], name))
        self.optimizers.load_state(models.deserialise(files["optimizers.safetensors"], name))
        rank = min(self.fabric.global_rank, then["processes"] - 1)
        state = models.deserialise(files[f"rank_{rank}.safetensors"], name)
        self.system.load_extra_state(
            {k.removeprefix("extra."): v for k, v in state.items() if k.startswith("extra.")}
        )
        rng.restore({k.removeprefix("rng."): v for k, v in state.items() if k.startswith("rng.")})
        for key, value in json.loads(files["progress.json"]).items():
            setattr(self.progress, key, value)
        bad = json.loads(state["bad"].numpy().tobytes())
        self.progress.bad = {int(index): message for index, message in bad.items()}
        return [
            *(f"refused: {reason}" for reason in refused),
            *(f"changed: {line}" for line in changed),
            *(
                f"changed: {line} (results may differ in the last bits)"
                for line in differences(then["versions"], self.record["versions"])
            ),
            f"continuing {self.run} at step {self.progress.step}",
        ]

    def roll_back(self, reason: str) -> str:
        """Return to the last checkpoint, but not to its place in the data; say so."""
        now = Progress(**vars(self.progress))
        if now.rollbacks >= _MAX_ROLLBACKS:
            raise TrainingError(
                f"{reason} at step {now.step}, after {now.rollbacks} returns to the checkpoint "
                "before it. The run diverges: lower the learning rate, set clip, or use "
                "--precision 32"
            )
        self.optimizers.discard()
        self.restore()
        # The data run on, so that the same batches do not fail again; what was counted stays.
        self.progress.cursor, self.progress.bad = now.cursor, now.bad
        self.progress.skipped, self.progress.in_a_row = now.skipped, 0
        self.progress.rollbacks, self.progress.best = now.rollbacks + 1, now.best
        return f"{reason} at step {now.step}: back to step {self.progress.step}"

    def healthy(self) -> bool:
        """Are all weights and buffers finite? (A skipped step can still poison a running mean.)"""
        return not _any_rank(self.fabric, not _finite(self.system.networks))

    def validate(self, data: Dataset[Any], log: Log) -> None:
        """Measure the averaged networks; keep them as `RUN/best` if they score best so far."""
        if self.fabric.global_rank == 0 and len(data):
            step, best = self.progress.step, self.progress.best
            with self.averages.in_place():
                metrics = evaluate(self.system, data, self.settings, self.fabric.device)
            log.write(step, "validate", metrics)
            shown = "  ".join(f"{key} {value:.4g}" for key, value in metrics.items())
            name, direction = self.system.score
            score = metrics[name]
            sign = 1 if direction == "max" else -1
            better = math.isfinite(score) and (best is None or sign * (score - best[1]) > 0)
            if better and self.progress.in_a_row == 0 and _finite(self.system.networks):
                self.progress.best = (step, score)
                self.export(self.run / "best")
                shown += f"  (best {name} so far)"
            log.say(f"step {step}/{self.settings.steps}  validate  {shown}")
        self.fabric.barrier()

    def draw_sheet(self, data: Dataset[Any], log: Log) -> None:
        """Draw a sheet of the first validation samples by the averaged networks."""
        if self.fabric.global_rank == 0 and len(data):
            first = validation_batches(
                self.system, data, batch_size=_SHEET_SAMPLES, limit=_SHEET_SAMPLES
            )
            with self.averages.in_place(), measuring(self.system.networks):
                batch = to_device(next(first), self.fabric.device)
                log.sheet(self.progress.step, self.system.samples(batch))
        self.fabric.barrier()


def evaluate(
    system: System[Any], data: Dataset[Any], settings: Settings, device: torch.device
) -> dict[str, float]:
    """Return `system.validate` over the first `settings.validate_samples` samples of `data`."""
    batches = validation_batches(
        system,
        data,
        batch_size=settings.batch_size,
        limit=settings.validate_samples,
        workers=settings.workers,
    )
    with measuring(system.networks):
        return system.validate(to_device(batch, device) for batch in batches)


@contextlib.contextmanager
def measuring(networks: nn.ModuleDict) -> Iterator[None]:
    """Evaluation mode, no gradients, and generators of its own: training does not notice."""
    modes = {name: network.training for name, network in networks.items()}
    networks.eval()
    try:
        with torch.no_grad(), rng.kept(0):
            yield
    finally:
        for name, network in networks.items():
            network.train(modes[name])


def rehearse(
    system: System[Any], train: Dataset[Any], validation: Dataset[Any], settings: Settings
) -> dict[str, float]:
    """Run two steps and one small validation in this process, writing nothing.

    Returns:
        Seconds per step, parameters per network in millions, and the metrics of the validation.
    """
    short = replace(settings, devices=1, validate_samples=settings.batch_size)
    fabric = launch(short)
    rng.seed(settings.seed + 1)
    _place(fabric, system, short)
    optimizers = Optimizers(
        fabric, system.networks, system.optimizers, accumulate=1, clip=settings.clip
    )
    stream = Stream(system, train, seed=settings.seed, batch_size=settings.batch_size)
    spent = []
    for step in range(2):
        start = time.perf_counter()
        optimizers.begin(step / settings.steps, last=True)
        terms = system.train_step(to_device(next(stream), fabric.device), optimizers)
        spent.append(time.perf_counter() - start)
    metrics = evaluate(system, validation, short, fabric.device)
    return {
        "seconds_per_step": spent[-1] * settings.accumulate,
        **{f"term {name}": float(value) for name, value in terms.items()},
        **{f"metric {name}": value for name, value in metrics.items()},
        **{
            f"parameters {name}": float(sum(p.numel() for p in network.parameters()))
            for name, network in system.networks.items()
        },
    }


def launch(settings: Settings) -> Fabric:
    """Start or join the processes of a run; under `torchrun` its numbers win over `devices`."""
    devices, nodes = settings.devices, 1
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def _place(fabric: Fabric, system: System[Any], settings: Settings) -> None:
    """Move the networks to the device, equal in all processes, in training mode and precision."""
    trained = {key for spec in system.optimizers.values() for key in spec.networks}
    for name, network in system.networks.items():
        network.to(fabric.device)
        # What no optimizer owns (a parser used as a loss) is frozen, its statistics too.
        network.train(name in trained)
        if name not in trained:
            network.requires_grad_(False)
        if settings.precision != "32":
            _autocast(fabric, network)
    if fabric.world_size > 1:
        for tensor in models.weights(system.networks).values():
            torch.distributed.broadcast(tensor, 0)


def _autocast(fabric: Fabric, network: nn.Module) -> None:
    """Run a network's forward in reduced precision; what it returns is float32 again."""
    forward = network.forward

    def reduced(*args: Any, **kwargs: Any) -> Any:
        with fabric.autocast():
            return as_float32(forward(*args, **kwargs))

    network.forward = reduced  # type: ignore[method-assign]


def _any_rank(fabric: Fabric, here: bool) -> bool:
    """Is it so in any process? Every process gets the same answer."""
    if fabric.world_size == 1:
        return here
    flag = torch.tensor(float(here), device=fabric.device)
    return bool(cast(Tensor, fabric.all_reduce(flag, reduce_op="sum")) > 0)


def _gather(fabric: Fabric, data: bytes) -> list[bytes]:
    """Return every process's bytes, in every process; they travel as a tensor, not as a pickle."""
    if fabric.world_size == 1:
        return [data]
    sizes = cast(Tensor, fabric.all_gather(torch.tensor(len(data), device=fabric.device))).tolist()
    padded = torch.zeros(max(sizes), dtype=torch.uint8, device=fabric.device)
    padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    rows = cast(Tensor, fabric.all_gather(padded)).cpu().numpy()
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def _share_buffers(fabric: Fabric, networks: nn.ModuleDict) -> None:
    """Give every process the buffers of the first, which are the ones that are saved."""
    if fabric.world_size > 1:
        for buffer in networks.buffers():
            torch.distributed.broadcast(buffer, 0)


def _finite(networks: nn.ModuleDict) -> bool:
    tensors = [t for t in models.weights(networks).values() if t.is_floating_point()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _due(step: int, every: int, ended: bool) -> bool:
    return ended or (every > 0 and step % every == 0)


@contextlib.contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list that the loop looks at; a second Ctrl-C is final."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return
    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _record(
    system: System[Any],
    settings: Settings,
    train: Dataset[Any],
    processes: int,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what explains a run: everything it depends on, and when, where and by what."""
    return {
        "format": 1,
        "system": catalog.name_of(type(system)),
        "config": to_json(system.config),
        "settings": to_json(settings),
        "about": dict(about),
        "samples": len(train),
        "processes": processes,
        "versions": {
            "python": platform.python_version(),
            **{
                name: version(name)
                for name in ("torch", "numpy", "lightning-fabric", "safetensors", "pydantic")
            },
            "pentimento": pentimento.__version__,
        },
        "commit": _commit(),
        "command": " ".join(sys.argv),
    }


def _weighty(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record that decides over the weights."""
    settings = {k: v for k, v in record["settings"].items() if k not in FREE}
    return {
        **{k: record[k] for k in ("system", "config", "about", "samples", "processes")},
        **settings,
    }


def _commit() -> str | None:
    """Return the commit of the repository we stand in, `+` appended if it has changes."""
    try:
        git = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        return subprocess.run(git, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _card(record: Mapping[str, Any], progress: Progress) -> str:
    """Return the card of a run's model: what made it and what it scored so far."""
    settings = record["settings"]
    score = f"step {progress.best[0]}: {progress.best[1]:.5g}" if progress.best else "none yet"
    about = "".join(f"- {key}: {value}\n" for key, value in record["about"].items())
    return (
        f"# {record['system']}, step {progress.step} of {settings['steps']}\n\n{about}"
        f"- best validation: {score}\n"
        f"- seed {settings['seed']}, batch {settings['batch_size']} × {record['processes']} "
        f"× {settings['accumulate']}, precision {settings['precision']}\n"
        f"- commit: {record['commit'] or 'none'}\n- command: `{record['command']}`\n"
    )
