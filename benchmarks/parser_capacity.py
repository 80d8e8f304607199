"""What helps the face parser at a small budget: width, steps, or a teacher?

    python benchmarks/parser_capacity.py --data DATA --out runs/capacity

Every row is trained anew from the same seed on the same faces, but for what its name says:

- `wide`: half as many channels again in every layer;
- `long`: the compact network again, with as much arithmetic as `wide` takes;
- `taught by wide`: beside the truth it learns the answers of `wide`, the larger network;
- `taught by bundled`: those of the bundled parser, of the same size and many times the budget;
- `taught a little`: the same, at a tenth of the weight.

The truth is that of rendered portraits, of the London people of the training side and, with
`--photos`, of photos that a parser has labelled. Scores are those of
`recipes/parser.py evaluate`. Arithmetic is that of the passes forward and back, the teacher's too;
a busy machine does not change it. A stopped benchmark continues.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import torch
from torch.utils.flop_counter import FlopCounterMode

from pentimento import models
from pentimento.engine import rng
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.labels import CELEBAMASK19
from pentimento.systems.frozen_parser import BUNDLED
from pentimento.systems.perceive.face_parsing import Config, FaceParsing, build, compact, open_data

_RECIPE: Final = Path(__file__).resolve().parent.parent / "recipes" / "parser.py"
_LARGE: Final = ("background", "skin", "hair", "hat", "neck", "cloth")
_CLASS_WEIGHTS: Final = tuple(1.0 if name in _LARGE else 3.0 for name in CELEBAMASK19.classes)
_WIDE: Final = tuple(width * 3 // 2 for width in compact().widths)


def forward(config: Config, side: int) -> int:
    """Return the floating-point operations of one face's pass through a network."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        build(config).eval()(torch.zeros(1, 3, side, side))
    return int(counter.get_total_flops())


def arithmetic(config: Config) -> float:
    """Return the operations of a run: a pass back costs two forward, a teacher one of its own."""
    face = 3 * forward(config, config.size)
    if config.teacher != "none":
        teacher = models.load(BUNDLED if config.teacher == "bundled" else config.teacher).config
        face += forward(teacher, teacher.size)
    return float(face * config.batch_size * config.steps)


def train(config: Config, spec: str, run: Path, seed: int) -> dict[str, Any]:
    """Train one row, or continue it; return what it took."""
    if not (run / "done").exists():
        rng.seed(seed)
        system = FaceParsing(config)
        system.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        settings = Settings(
            steps=config.steps, batch_size=config.batch_size, seed=seed, save_every=100,
            validate_every=0, validate_samples=32, sheet_every=0, precision="bf16", workers=0,
            clip=5.0, average_decay=0.99,
        )  # fmt: skip
        sides = open_data(spec, "train", config), open_data(spec, "val", config)
        resume = (run / "checkpoints").exists()
        outcome = fit(system, run, *sides, settings, resume=resume)
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        (run / "done").touch()
    parameters = sum(p.numel() for p in models.load(run).networks.parameters())
    return {"steps": config.steps, "parameters": parameters, "flop": arithmetic(config)}


def score(run: Path, data: Path, unseen: int) -> dict[str, float]:
    """Return the mean IoU of a trained row on everything that is there."""
    path = run / "scores.json"
    if not path.exists():
        command = [sys.executable, str(_RECIPE), "evaluate", str(run), "--data", str(data)]
        command += ["--unseen", str(unseen), "--json", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {name: about["mean_iou"] for name, about in json.loads(path.read_text()).items()}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    names = [name for name in ("london", "helen", "world") if name in next(iter(rows.values()))]
    lines = ["| | parameters | steps | TFLOP | " + " | ".join(names) + " |"]
    lines.append("|---|" + "---|" * (3 + len(names)))
    for title, row in rows.items():
        about = f"{row['parameters'] / 1e6:.1f} M | {row['steps']} | {row['flop'] / 1e12:.1f}"
        scores = " | ".join(f"{row[name]:.3f}" for name in names)
        lines.append(f"| {title} | {about} | {scores} |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The runs.")
@click.option("--world", default="world:count=3200", show_default=True, help="Rendered portraits.")
@click.option("--photos", help="Labelled photos, as a data specification.")
@click.option("--size", default=96, show_default=True, help="Side of the crops.")
@click.option("--steps", default=400, show_default=True, help="Of 8 faces.")
@click.option("--unseen", default=100, show_default=True, help="Rendered portraits to score on.")
@click.option("--seed", default=0, show_default=True)
def main(
    data: Path,
    out: Path,
    world: str,
    photos: str | None,
    size: int,
    steps: int,
    unseen: int,
    seed: int,
) -> None:
    """Train what is not trained yet, score everything, print the table."""
    torch.set_num_threads(1)
    london = data / "london_faces"
    sources = [world] + [f"4*london:{london}"] * london.is_dir() + ([photos] if photos else [])
    spec = ",".join(sources)
    # One epoch or two: nothing is seen often enough to be worth varying.
    base = replace(
        compact(), size=size, steps=steps, batch_size=8, dice=1.0, class_weights=_CLASS_WEIGHTS,
        augmented=False,
    )  # fmt: skip
    rows: dict[str, dict[str, Any]] = {}

    def measure(title: str, config: Config) -> None:
        run = out / title.replace(" ", "_")
        took = train(config, spec, run, seed)
        rows[title] = {**took, **score(run, data, unseen)}
        click.echo(f"{title}: {json.dumps(rows[title])}")

    measure("compact", base)
    measure("wide", replace(base, widths=_WIDE))
    measure("taught by wide", replace(base, teacher=str(out / "wide"), teacher_weight=1.0))
    more = rows["wide"]["flop"] / rows["compact"]["flop"]
    measure("long", replace(base, steps=round(steps * more)))
    measure("taught by bundled", replace(base, teacher="bundled", teacher_weight=1.0))
    measure("taught a little", replace(base, teacher="bundled", teacher_weight=0.1))
    click.echo("\n" + table(rows))


if __name__ == "__main__":
    main()
