"""CornerNet and both CenterNets, trained alike on rendered scenes: precision and speed.

    python benchmarks/box_detectors.py --data SCENES --steps 2000

SCENES is a data specification such as a folder of `pentimento world scenes`, or `world:count=1200`.
All three see the same pictures for the same number of steps; the corner detectors have the same
narrow hourglass, CenterNet (points) a narrow ResNet-18 with deconvolutions. They look for people:
of any other class a few hundred scenes hold too few for a figure. Pictures per second of one
processor are those of `predict` at this size, decoding and suppression included, in turns. A run
that is interrupted (SIGTERM) ends there, the next detector follows, and the same command with
`--out` goes on; seconds are those of this time.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from pentimento.catalog import row
from pentimento.config import with_values
from pentimento.engine import rng
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.models import load

NAMES = ("cornernet", "centernet_triplets", "centernet")


def measure(
    name: str,
    data: str,
    run: Path,
    *,
    size: int,
    steps: int,
    classes: str,
    precision: Literal["32", "bf16"] = "bf16",
    seed: int = 0,
) -> dict[str, Any]:
    """Train one detector, or go on with it, and return its scores and costs.

    `course` is the AP after each quarter, `ap`, `ap50` and `ap75` that of the last weights,
    `seconds` the processor time of this training.
    """
    module = row(name).module()
    names = '["' + '","'.join(classes.split(",")) + '"]'
    config = with_values(module.compact(), [f"classes={names}", f"size={size}", f"steps={steps}"])
    rng.seed(seed)
    system = row(name).system()(config)
    sides = [module.open_data(data, side, config) for side in ("train", "val")]
    settings = Settings(
        steps=steps, batch_size=16, seed=seed, validate_every=max(1, steps // 4), sheet_every=0,
        workers=0, precision=precision,
    )  # fmt: skip
    for side in sides:
        for i in range(len(side)):
            side.sample(i, np.random.default_rng(0))  # rendered now, not on the clock
    start = time.process_time()
    fit(system, run, sides[0], sides[1], settings, resume=run.exists())
    seconds = time.process_time() - start
    system = load(run)
    val = [sides[1].sample(i, np.random.default_rng(0)) for i in range(len(sides[1]))]
    with torch.no_grad():
        batches = [system.collate(val[i : i + 16]) for i in range(0, len(val), 16)]
        last = system.validate(batches)
        with FlopCounterMode(display=False) as counter:
            system.predict(val[0].image)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return {
        **{key: float(last[key]) for key in ("ap", "ap50", "ap75")},
        "course": [line["ap"] for line in map(json.loads, lines) if "ap" in line],
        "gflop": counter.get_total_flops() / 1e9,
        "parameters": sum(p.numel() for p in system.networks.parameters()),
        "seconds": seconds,
    }


def speed(runs: Mapping[str, Path], pictures: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Return the median seconds of one processor that each model takes, asked in turns."""
    models = {name: load(run) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for picture in pictures:
        for name, system in models.items():
            start = time.process_time()
            system.predict(picture)
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def unseen(name: str, data: str, size: int, count: int) -> list[NDArray[np.uint8]]:
    """Return pictures of the validation split."""
    module = row(name).module()
    side = module.open_data(data, "val", with_values(module.compact(), [f"size={size}"]))
    return [side.sample(i, np.random.default_rng(0)).image for i in range(min(count, len(side)))]


@click.command()
@click.option("--data", default="world:count=1200", show_default=True)
@click.option("--size", default=128, show_default=True, help="Side of the pictures.")
@click.option("--steps", default=2000, show_default=True, help="Of 16 pictures, for each.")
@click.option("--classes", default="person", show_default=True)
@click.option("--precision", type=click.Choice(["32", "bf16"]), default="bf16", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the runs, and go on with them.")
def main(
    data: str,
    size: int,
    steps: int,
    classes: str,
    precision: Literal["32", "bf16"],
    out: Path | None,
) -> None:
    """Train and measure."""
    out = out or Path(tempfile.mkdtemp())
    quarters = " | ".join(f"AP, step {steps * i // 4}" for i in (1, 2, 3, 4))
    print(f"| detector | parameters | GFLOP | {quarters} | AP50 | AP75 | training, CPU s |")
    print("|---" * 10 + "|")
    for name in NAMES:
        found = measure(
            name, data, out / name, size=size, steps=steps, classes=classes, precision=precision
        )
        course = [f"{ap:.3f}" for ap in found["course"]]
        print(
            f"| {name} | {found['parameters'] / 1e6:.2f} M | {found['gflop']:.2f} "
            f"| {' | '.join(course + ['–'] * (4 - len(course)))} "
            f"| {found['ap50']:.3f} | {found['ap75']:.3f} | {found['seconds']:.0f} |",
            flush=True,
        )
    times = speed({name: out / name for name in NAMES}, unseen(NAMES[0], data, size, 40))
    for name, middle in times.items():
        print(f"{name}: {1 / middle:.1f} pictures/s, median {1000 * middle:.0f} ms")


if __name__ == "__main__":
    main()
