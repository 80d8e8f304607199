"""CornerNet and both CenterNets, trained alike on rendered scenes: precision and speed.

    python benchmarks/box_detectors.py --data SCENES --steps 400

SCENES is a data specification such as a folder of `pentimento world scenes`, or `world:count=800`.
All three see the same pictures for the same number of steps; the corner detectors have the same
narrow hourglass, CenterNet (points) a narrow ResNet-18 with deconvolutions. Pictures per second are
those of `predict` at this size, decoding and suppression included, one after another in turns.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from pentimento.catalog import row
from pentimento.config import with_values
from pentimento.engine import rng
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.models import load

NAMES = ("cornernet", "centernet_triplets", "centernet")


@click.command()
@click.option("--data", default="world:count=800", show_default=True)
@click.option("--size", default=128, show_default=True, help="Side of the pictures.")
@click.option("--steps", default=400, show_default=True, help="Of 16 pictures, for each.")
@click.option("--classes", default="person,box,table,vase,ball", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the runs, and go on with them.")
def main(data: str, size: int, steps: int, classes: str, out: Path | None) -> None:
    """Train and measure."""
    out = out or Path(tempfile.mkdtemp())
    models: dict[str, Any] = {}
    print(
        "| detector | parameters | GFLOP | AP | AP50 | training, CPU s |\n|---|---|---|---|---|---|"
    )
    for name in NAMES:
        module = row(name).module()
        names = '["' + '","'.join(classes.split(",")) + '"]'
        config = with_values(
            module.compact(), [f"classes={names}", f"size={size}", f"steps={steps}"]
        )
        rng.seed(0)
        system = row(name).system()(config)
        sides = [module.open_data(data, side, config) for side in ("train", "val")]
        settings = Settings(
            steps=steps, batch_size=16, validate_every=steps, sheet_every=0, workers=0
        )
        start = time.process_time()
        run = out / name
        fit(system, run, sides[0], sides[1], settings, resume=run.exists())
        seconds = time.process_time() - start
        models[name] = system = load(run)
        val = [sides[1].sample(i, np.random.default_rng(0)) for i in range(len(sides[1]))]
        with torch.no_grad():
            batches = [system.collate(val[i : i + 16]) for i in range(0, len(val), 16)]
            scores = system.validate(batches)
            with FlopCounterMode(display=False) as counter:
                system.predict(val[0].image)
        size_of = sum(p.numel() for p in system.networks.parameters())
        print(
            f"| {name} | {size_of / 1e6:.2f} M | {counter.get_total_flops() / 1e9:.2f} "
            f"| {scores['ap']:.3f} | {scores['ap50']:.3f} | {seconds:.0f} |",
            flush=True,
        )
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for sample in val[:40]:
        for name, system in models.items():
            start = time.perf_counter()
            system.predict(sample.image)
            times[name].append(time.perf_counter() - start)
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name}: {1 / middle:.1f} pictures/s, median {1000 * middle:.0f} ms")


if __name__ == "__main__":
    main()
