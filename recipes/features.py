"""The bundled feature network, from data to card.

    python recipes/features.py --data DATA --portraits DIR --out runs/features --weights FOLDER

DIR holds rendered portraits as `pentimento world portraits DIR` writes them; several may be joined
by commas. DATA holds `faker_portraits` (CC0) and `congress_gray` (public domain), from which the
network learns what harm looks like. Stages:

1. training (`pentimento train features` does the same);
2. channels evened out over the training pictures;
3. `benchmarks/features.py`, the card and the model, without what only training needs.

The same command continues where it was stopped.
"""

import json
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import click
import numpy as np
import torch

from pentimento import models
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.systems.perceive.features import Config, Features, compact, open_data, tiny

ABOUT: Final = "feature network, weights/features: a quarter of an hour on one core"
_BENCHMARK: Final = Path(__file__).resolve().parent.parent / "benchmarks" / "features.py"
_SEED: Final = 0


def train(
    spec: str, config: Config, out: Path, precision: Literal["32", "bf16"]
) -> tuple[Features, float]:
    """Train, or continue, or return what is there; with the minutes it took."""
    torch.manual_seed(_SEED)
    settings = Settings(
        steps=config.steps,
        batch_size=config.batch_size,
        seed=_SEED,
        save_every=50,
        validate_every=config.steps // 3 or 1,
        sheet_every=0,
        precision=precision,
        workers=0,
        clip=5.0,
        average_decay=0.99,
    )
    began = time.monotonic()
    outcome = fit(
        Features(config),
        out,
        open_data(spec, "train", config),
        open_data(spec, "val", config),
        settings,
        about={"data": spec, "recipe": "features"},
        resume=(out / "checkpoints").exists(),
    )
    if outcome.signal is not None:
        raise SystemExit(128 + outcome.signal)
    trained: Features = models.load(out)
    return trained, (time.monotonic() - began) / 60


def even_out(system: Features, spec: str, count: int = 256) -> None:
    """Even the channels out over the middles of training pictures."""
    clean = replace(system.config, harmed=0.0)
    data, rng = open_data(spec, "train", clean), np.random.default_rng(_SEED)
    places = rng.permutation(len(data))[:count]
    system.equalise(
        system.collate([data.sample(int(i), rng) for i in places[at : at + 16]]).image
        for at in range(0, len(places), 16)
    )


def last_metrics(run: Path) -> dict[str, float]:
    """Return what the run's last validation measured."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    found = [line for line in lines if line.get("kind") == "validate"]
    return {name: float(found[-1][name]) for name in ("parts", "undone")}


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of photos.")
@click.option("--portraits", required=True, help="Folders of rendered portraits.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Where stages go.")
@click.option("--weights", type=click.Path(path_type=Path), help="Where the model goes.")
@click.option("--smoke", is_flag=True, help="Seconds, to see that it runs.")
def main(data: Path, portraits: str, out: Path, weights: Path | None, smoke: bool) -> None:
    """Make the bundled feature network."""
    photos = [data / name for name in ("faker_portraits", "congress_gray")]
    spec = ",".join([portraits, *(f"pictures:{folder}" for folder in photos if folder.is_dir())])
    config = tiny() if smoke else compact()
    system, minutes = train(spec, config, out / "train", "32" if smoke else "bf16")
    even_out(system, spec)
    if weights is None:
        return
    models.save(system, weights, "", half=True, networks=["features"])
    command = [sys.executable, str(_BENCHMARK), "--data", str(data), "--model", str(weights)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    parameters = sum(p.numel() for p in system.networks["features"].parameters())
    described = _BENCHMARK.parent.parent / "recipes" / "features_card.md"
    card = described.read_text().format(
        parameters=f"{parameters:,}",
        steps=config.steps,
        batch=config.batch_size,
        size=config.size,
        seed=_SEED,
        minutes=f"{minutes:.0f}",
        hardware=f"{platform.machine()}, {torch.get_num_threads()} thread",
        scores=told.strip(),
        **last_metrics(out / "train"),
    )
    models.save(system, weights, card, half=True, networks=["features"])
    click.echo(json.dumps({"minutes": minutes, "weights": str(weights)}))


if __name__ == "__main__":
    main()
