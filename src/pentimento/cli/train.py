"""`pentimento train`: train a system, or continue a run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from pentimento.errors import ConfigError, TrainingError


@click.command(
    epilog="""\b
Examples:
  pentimento train face_parsing --data world --preset tiny --out runs/parse
  pentimento train portrait --data world --preset compact --out runs/p1 --set lr=0.0001
  pentimento train --resume runs/p1
  torchrun --nproc-per-node 2 -m pentimento train portrait --data world --out runs/p2"""
)
@click.argument("system", required=False)
@click.option("--data", "spec", help="Data specification, for example: world")
@click.option("--preset", help="Configuration to start from.  [default: compact]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the new run.")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue this run to its end.")
@click.option("--init", type=click.Path(path_type=Path), help="Start from a model's weights.")
@click.option("--set", "values", multiple=True, metavar="KEY=VALUE", help="Set a field of Config.")
@click.option("--steps", type=click.IntRange(1), help="Length of the run.  [default: the preset's]")
@click.option("--batch-size", type=click.IntRange(1), help="[default: the preset's]")
@click.option("--seed", type=click.IntRange(0), help="[default: 0]")
@click.option("--save-every", type=click.IntRange(1), help="Steps.  [default: 500]")
@click.option("--validate-every", type=click.IntRange(0), help="Steps.  [default: 500]")
@click.option("--validate-samples", type=click.IntRange(1), help="[default: 200]")
@click.option("--sheet-every", type=click.IntRange(0), help="Steps.  [default: 500]")
@click.option("--log-every", type=click.IntRange(1), help="Steps.  [default: 20]")
@click.option("--precision", type=click.Choice(["32", "bf16"]), help="[default: 32]")
@click.option("--accelerator", type=click.Choice(["auto", "cpu", "cuda"]), help="[default: auto]")
@click.option("--devices", type=click.IntRange(1), help="Processes.  [default: 1]")
@click.option("--workers", type=click.IntRange(0), help="Data workers per process.  [default: 2]")
@click.option("--accumulate", type=click.IntRange(1), help="Batches per step.  [default: 1]")
@click.option("--clip", type=click.FloatRange(0, min_open=True), help="Largest gradient norm.")
@click.option(
    "--average-decay", type=click.FloatRange(0, 1, max_open=True), help="[default: 0.999]"
)
@click.option(
    "--patience", type=click.IntRange(1), help="Bad steps before a rollback.  [default: 10]"
)
@click.option("--accept-config-change", is_flag=True, help="Resume although something changed.")
@click.option("--dry-run", is_flag=True, help="Two steps, one validation, nothing written.")
def command(
    system: str | None,
    spec: str | None,
    preset: str | None,
    out: Path | None,
    resume: Path | None,
    init: Path | None,
    values: tuple[str, ...],
    accept_config_change: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Train SYSTEM on data into a run folder, or continue a run.

    The folder's model.safetensors is the latest model, best/ the one that validated best. A run
    that was stopped or killed continues with --resume RUN alone and ends with the same bits.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if resume is not None:
        if system or out or preset or init:
            raise click.UsageError("--resume RUN goes without SYSTEM, --out, --preset and --init")
        plan = _resumed(resume)
    elif not system or not spec or (out is None and not dry_run):
        raise click.UsageError("give SYSTEM, --data and --out, or --resume RUN")
    else:
        plan = _Plan(system, {"preset": preset or "compact", "init": init and str(init)})
    if spec:
        plan.about["data"] = spec
    plan.settings.update(given)
    _train(plan, out or resume, values, init, resume is not None, accept_config_change, dry_run)


@dataclass(frozen=True)
class _Plan:
    """What to train: the system, the run's `about` and settings, and its Config if resumed."""

    system: str
    about: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] | None = None


def _resumed(run: Path) -> _Plan:
    try:
        record = json.loads((run / "run.json").read_bytes())
        config = json.loads((run / "config.json").read_bytes())["config"]
        about = {"preset": None, "data": record["about"]["data"], **record["about"]}
        return _Plan(record["system"], about, record["settings"], config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{run} holds no run that could be continued ({error})") from None


def _train(
    plan: _Plan,
    run: Path | None,
    values: tuple[str, ...],
    init: Path | None,
    resume: bool,
    accept_changes: bool,
    dry_run: bool,
) -> None:
    from torch import nn

    from pentimento import catalog, models
    from pentimento.config import from_json, to_json, with_values
    from pentimento.engine import rng
    from pentimento.engine.log import duration
    from pentimento.engine.loop import fit, rehearse
    from pentimento.engine.settings import Settings

    try:
        row = catalog.row(plan.system)
    except ValueError as error:
        raise ConfigError(f"{error}; see `pentimento systems`") from None
    module, preset = row.module(), plan.about["preset"]
    if plan.config is not None:
        config = from_json(module.Config, plan.config)
    elif preset in module.PRESETS:
        config = module.PRESETS[preset]()
    else:
        known = ", ".join(module.PRESETS)
        raise ConfigError(f"{plan.system} has no preset {preset!r}; there are {known}")
    # These two are fields of every Config, so that it tells the truth about them.
    own = [f"{key}={plan.settings[key]}" for key in ("steps", "batch_size") if key in plan.settings]
    config = with_values(config, [*own, *values])
    rng.seed(plan.settings.get("seed", 0))
    system = row.system()(config)
    settings = from_json(
        Settings, {**plan.settings, "steps": system.steps, "batch_size": system.batch_size}
    )
    if init is not None:
        trained = models.load(init).networks  # critics may have stayed behind: they start anew
        begun = nn.ModuleDict({k: net for k, net in system.networks.items() if k in trained})
        models.restore(begun, models.weights(trained), str(init))
    train = module.open_data(plan.about["data"], "train", config)
    validation = module.open_data(plan.about["data"], "val", config)

    if dry_run:
        click.echo(json.dumps({"config": to_json(config), "settings": to_json(settings)}, indent=2))
        found = rehearse(system, train, validation, settings)
        millions = ", ".join(f"{name} {n / 1e6:.3g} M" for name, n in found.parameters.items())
        left = duration(found.seconds_per_step * settings.accumulate * settings.steps)
        click.echo(
            f"data        {len(train)} samples to train on, {len(validation)} to validate on"
        )
        click.echo(f"parameters  {millions}")
        click.echo(f"losses      {_listed(found.terms)}")
        click.echo(f"validation  {_listed(found.metrics)}")
        click.echo(
            f"expected    {left} for {settings.steps} steps on {found.device}, data unprepared"
        )
        return
    assert run is not None
    outcome = fit(
        system,
        run,
        train,
        validation,
        settings,
        about=plan.about,
        resume=resume,
        accept_changes=accept_changes,
    )
    if outcome.signal is not None:
        raise SystemExit(128 + outcome.signal)


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
