"""The training loop: `fit` reads from top to bottom; everything it calls is beside it.

settings.py    how a run is run              data.py        which samples a step uses
update.py      one optimizer step            averages.py    moving averages
run.py         keep, go back, measure        checkpoint.py  survives a kill
processes.py   start, agree, share           log.py         what a run tells
"""

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pentimento.engine import rng
from pentimento.engine.averages import Averages
from pentimento.engine.data import Stream, Validation, describe_bad, naming_dead_workers, to_device
from pentimento.engine.log import Log
from pentimento.engine.processes import any_rank, launch, placed, stop_signal
from pentimento.engine.run import Progress, Run, describe, evaluate
from pentimento.engine.settings import Settings
from pentimento.engine.system import Dataset, System
from pentimento.engine.update import Optimizers
from pentimento.errors import TrainingError


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: steps done.
        best: step and score of the best validation, or None.
        skipped: steps skipped for values that were not finite.
        bad: index → message of the samples that could not be read.
        signal: the signal that ended it early, or None at its natural end.
    """

    step: int
    best: tuple[int, float] | None
    skipped: int
    bad: Mapping[int, str]
    signal: int | None


def fit(
    system: System[Any],
    folder: str | Path,
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
        folder: the run's folder.
        train: training samples.
        validation: samples of `validate` and of the sheets.
        settings: how to run.
        about: what else the run's records hold (where the data come from, the preset).
        resume: continue the run in that folder; else it must be new.
        accept_changes: continue although configuration or settings changed.

    Raises:
        TrainingError: diverged for good, out of memory, or the folder does not fit what was asked.
        CheckpointError: a checkpoint could not be written, or none could be read.
        DataError: too many samples are broken, or a data worker died.
    """
    folder = Path(folder)
    fabric = launch(settings)
    main = fabric.global_rank == 0
    rng.seed(settings.seed + 1 + fabric.global_rank)

    with contextlib.ExitStack() as stack:
        for context in (placed(fabric, system), _for_people(folder), naming_dead_workers()):
            stack.enter_context(context)
        stop = stack.enter_context(stop_signal())

        # ---- a new run, or the newest checkpoint that is whole
        progress = Progress()
        optimizers = Optimizers(fabric, system.networks, system.optimizers, settings)
        averages = Averages(system.networks, system.averaged, settings.average_decay)
        record = describe(system, settings, train, fabric.world_size, about or {})
        run = Run(folder, fabric, system, settings, record, optimizers, averages, progress)
        notices = run.begin(resume=resume, accept_changes=accept_changes)
        log = Log(folder if main else None, step=progress.step, steps=settings.steps)
        stack.enter_context(contextlib.closing(log))
        log.say(*notices)
        stream = Stream(
            system,
            train,
            settings,
            start=progress.cursor,
            rank=fabric.global_rank,
            world=fabric.world_size,
            bad=progress.bad,
        )
        stack.enter_context(contextlib.closing(stream))
        per_step = settings.batch_size * settings.accumulate * fabric.world_size

        while progress.step < settings.steps:
            # ---- one step
            for micro in range(settings.accumulate):
                batch = to_device(next(stream), fabric.device)
                last = micro == settings.accumulate - 1
                optimizers.begin(progress.step / settings.steps, last=last)
                log.add(system.train_step(batch, optimizers))
                progress.cursor += 1
            optimizers.end()
            progress.step += 1
            progress.bad = stream.bad
            log.say(*stream.news())
            averages.follow(progress.step)

            # ---- not finite: skipped, counted, and too many in a row go back to the last good
            progress.in_a_row = progress.in_a_row + 1 if optimizers.skipped else 0
            if optimizers.skipped:
                progress.skipped += 1
                names = ", ".join(optimizers.skipped)
                log.say(f"step {progress.step}: skipped {names}, values were not finite")
            if progress.in_a_row >= settings.patience:
                log.say(run.roll_back(f"{progress.in_a_row} steps in a row were not finite"))
                continue

            # ---- tell, measure, keep
            step, ended = progress.step, progress.step == settings.steps
            stopping = any_rank(fabric, bool(stop)) and not ended
            if ended or step % settings.log_every == 0:
                log.train(step, per_step, skipped=progress.skipped, bad_samples=len(progress.bad))
            if _due(step, settings.validate_every, ended):
                run.validate(validation, log)
            if _due(step, settings.sheet_every, ended):
                run.draw_sheet(validation, log)
            good = not progress.in_a_row  # what a rollback returns to is from before the trouble
            if ended or stopping or (good and step % settings.save_every == 0):
                log.say(run.save_if_finite())
            if stopping:
                log.say(
                    f"stopped at step {step}; continue with: pentimento train --resume {folder}"
                )
                break

        if progress.bad:
            log.say(f"{len(progress.bad)} samples were replaced; {describe_bad(progress.bad)}")
    # Another process may be the one that was asked to stop.
    early = None if progress.step == settings.steps else (stop or [signal.SIGTERM])[0]
    return Outcome(progress.step, progress.best, progress.skipped, progress.bad, early)


@dataclass(frozen=True)
class Rehearsal:
    """What a dry run found.

    Attributes:
        device: where the run would be.
        parameters: parameters of each network.
        seconds_per_step: of the second step, data included, validation and saving not.
        terms: losses of the second step.
        metrics: of a validation on one batch.
    """

    device: str
    parameters: Mapping[str, int]
    seconds_per_step: float
    terms: Mapping[str, float]
    metrics: Mapping[str, float]


def rehearse(
    system: System[Any], train: Dataset[Any], validation: Dataset[Any], settings: Settings
) -> Rehearsal:
    """Run two steps and one small validation in this process, writing nothing."""
    settings = replace(settings, devices=1, accumulate=1, workers=0)
    fabric = launch(settings)
    rng.seed(settings.seed + 1)
    with placed(fabric, system):
        optimizers = Optimizers(fabric, system.networks, system.optimizers, settings)
        stream = Stream(system, train, settings)
        for step in range(2):
            start = time.perf_counter()
            optimizers.begin(step / settings.steps, last=True)
            terms = system.train_step(to_device(next(stream), fabric.device), optimizers)
            losses = {name: value.item() for name, value in terms.items()}
        seconds = time.perf_counter() - start
        one_batch = Validation(system, validation, settings, limit=settings.batch_size)
        metrics = evaluate(system, one_batch, fabric.device)
    parameters = {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in system.networks.items()
    }
    return Rehearsal(str(fabric.device), parameters, seconds, losses, metrics)


def _due(step: int, every: int, always: bool) -> bool:
    return always or (every > 0 and step % every == 0)


@contextlib.contextmanager
def _for_people(folder: Path) -> Iterator[None]:
    """Turn what a machine runs out of into errors that say what to do."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{error.filename or folder}: {error.strerror}. The run's checkpoints are intact; when "
            f"that is mended, continue with: pentimento train --resume {folder}"
        ) from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "out of memory. Give a smaller --batch-size with a larger --accumulate, "
            f"or --precision bf16 ({error})"
        ) from error
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError(
            "another process of this run has ended; its own message says why. When that is mended, "
            f"continue with: pentimento train --resume {folder}"
        ) from error
