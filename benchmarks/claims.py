"""Four claims about keypoints and detectors, measured by one command at one small budget.

    python -m benchmarks.claims --portraits FOLDER --out runs/claims

FOLDER is a data specification of rendered portraits, such as what `pentimento world portraits
--count 1600 --size 256 --seed 300000` wrote. Everything is trained from nothing on the rendered
world, all variants of a claim with the same pictures in the same order, every seed with an order
and first weights of its own. The experiments are those of `landmarks.py`, `box_detectors.py` and
`face_heads.py`, shorter; about 20 minutes of one core for two seeds. A stopped run continues.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import click
import torch

from benchmarks import box_detectors, face_heads, landmarks
from pentimento.errors import DataError
from pentimento.systems.perceive import retinaface

Measured = Mapping[str, float]
MEAN_FACE: Final = "the mean face, no network"
_BOXES_SIZE: Final = 128
_WEIGHTS: Final = (2.0, 0.2, 0.2)  # of boxes, points, vertices: `face_heads.py`'s default


@plain_dataclass(frozen=True)
class Claim:
    """What the seeds say, and which measurements bear on it.

    Attributes:
        about: its name in the table.
        said: the claim.
        variants: names of what is compared.
        score: key of the score and how it is printed.
        cost: key of the cost and how it is printed.
    """

    about: str
    said: str
    variants: tuple[str, ...]
    score: tuple[str, str]
    cost: tuple[str, str]


CLAIMS: Final = {
    "heads": Claim(
        "heatmaps or coordinates", "heatmaps are more exact, and cost more",
        (MEAN_FACE, "coordinates, wing loss", "heatmaps of 32², DARK"),
        ("nme", "NME {:.2f} %"), ("mflop", "{:.0f} MFLOP"),
    ),
    "stacks": Claim(
        "hourglasses in a row", "every further one betters the answer",
        ("hourglass, 1 stack", "hourglass, 2 stacks", "hourglass, 4 stacks"),
        ("nme", "NME {:.2f} %"), ("mflop", "{:.0f} MFLOP"),
    ),
    "boxes": Claim(
        "boxes from keypoints",
        "corners are quick; a centre betters them and costs; points are quick and good",
        box_detectors.NAMES, ("ap", "AP {:.3f}"), ("rate", "{:.0f} pictures/s"),
    ),
    "faces": Claim(
        "heads of RetinaFace", "further heads teach the backbone, as more pictures would",
        tuple(face_heads.ARMS), ("ap", "AP of boxes {:.3f}"), ("gflop", "{:.2f} GFLOP"),
    ),
}  # fmt: skip


@plain_dataclass(frozen=True)
class Budget:
    """What every variant gets; kept in the folder, because results of two do not compare."""

    portraits: str
    scenes: str
    crowds: str
    share: float

    def of(self, full: int) -> int:
        """Return that share of a full budget, at least 2."""
        return max(2, round(self.share * full))


class Bench:
    """The experiments; data are drawn when first asked for, and once."""

    def __init__(self, budget: Budget, out: Path):
        self.budget, self.out = budget, out

    @cached_property
    def _unseen(self) -> list[Any]:
        return landmarks.draw(self.budget.portraits, "val", self.budget.of(160))

    @cached_property
    def _crowds(self) -> tuple[list[Any], list[Any]]:
        sides = (("train", self.budget.of(2000)), ("val", self.budget.of(300)))
        train, val = (
            face_heads.draw(self.budget.crowds, side, _BOXES_SIZE, count)  # type: ignore[arg-type]  # a tuple's text is no Literal
            for side, count in sides
        )
        return train, val

    def points(self, seed: int) -> dict[str, Callable[[], Measured]]:
        """Return what measures each way to find landmarks."""
        count = self.budget.of(200) * landmarks.BATCH
        seen: list[Any] = []

        def measure(name: str) -> Measured:
            seen[:] = seen or landmarks.draw(self.budget.portraits, "train", count, seed)
            if name == MEAN_FACE:
                nme = landmarks.mean_face(seen, self._unseen)
                return {"nme": nme, "mflop": 0.0, "seconds": 0.0}
            return landmarks.measure(name, seen, self._unseen, seed)

        return _each((*CLAIMS["heads"].variants, *CLAIMS["stacks"].variants), measure)

    def boxes(self, seed: int) -> dict[str, Callable[[], Measured]]:
        """Return what measures each box detector."""

        def measure(name: str) -> Measured:
            return box_detectors.measure(
                name, self.budget.scenes, self.run(name, seed), size=_BOXES_SIZE,
                steps=self.budget.of(400), classes="person", seed=seed,
            )  # fmt: skip

        return _each(CLAIMS["boxes"].variants, measure)

    def faces(self, seed: int) -> dict[str, Callable[[], Measured]]:
        """Return what measures each set of RetinaFace's heads."""

        def measure(name: str) -> Measured:
            common = face_heads.base("lean", _BOXES_SIZE, self.budget.of(600), _WEIGHTS)
            config = replace(retinaface.compact(), **common, **face_heads.ARMS[name])
            run = self.run(name.replace(", ", "_"), seed)
            finder = face_heads.train(config, self._crowds, run, seed)
            scores = face_heads.score(finder, self._crowds[1])
            return {key: value for key, value in scores.items() if math.isfinite(value)} | {
                "gflop": face_heads.gflop(finder, _BOXES_SIZE),
                "seconds": json.loads((run / "done").read_text())["seconds"],
            }

        return _each(CLAIMS["faces"].variants, measure)

    def rates(self, seed: int) -> dict[str, float]:
        """Return pictures per second of one core of the box detectors, asked in turns."""
        runs = {name: self.run(name, seed) for name in box_detectors.NAMES}
        shown = box_detectors.unseen("cornernet", self.budget.scenes, _BOXES_SIZE, 40)
        return {name: 1 / time for name, time in box_detectors.speed(runs, shown).items()}

    def run(self, name: str, seed: int) -> Path:
        """Return the folder of a run."""
        return self.out / f"{name}_{seed}"


def _each(
    names: tuple[str, ...], measure: Callable[[str], Measured]
) -> dict[str, Callable[[], Measured]]:
    return {name: lambda name=name: measure(name) for name in names}  # type: ignore[misc]  # mypy infers no lambda with defaults


def kept(file: Path, budget: Budget) -> dict[str, dict[str, Measured]]:
    """Return what is measured already, by seed and name; DataError under another budget."""
    if not file.exists():
        return {}
    found = json.loads(file.read_text())
    if found["budget"] != asdict(budget):
        raise DataError(f"{file}: measured with {found['budget']}; take another --out")
    results: dict[str, dict[str, Measured]] = found["results"]
    return results


def table(results: Mapping[str, Mapping[str, Measured]]) -> str:
    """Return the claims as Markdown: means over the seeds, in brackets each seed's."""
    lines = ["| claim | variant | score | cost | training, CPU s |", "|---|---|---|---|---|"]
    for claim in CLAIMS.values():
        title = f"**{claim.about}**: {claim.said}"
        for name in claim.variants:
            rows = [results[seed][name] for seed in sorted(results, key=int)]

            def shown(key: str, form: str, rows: list[Measured] = rows) -> str:
                values = [row[key] for row in rows]
                mean = form.format(statistics.mean(values))
                number = form[form.index("{") : form.index("}") + 1]
                each = " / ".join(number.format(value) for value in values)
                same = len({number.format(value) for value in values}) == 1
                return mean if same else f"{mean} ({each})"

            seconds = statistics.mean(row["seconds"] for row in rows)
            cells = (title, name, shown(*claim.score), shown(*claim.cost), f"{seconds:.0f}")
            lines.append(f"| {' | '.join(cells)} |")
            title = ""
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--portraits", default="world:count=1600", show_default=True)
@click.option("--scenes", default="world:count=1200", show_default=True, help="For boxes.")
@click.option("--crowds", default="world:count=500,2*scenes:count=400", show_default=True)
@click.option("--seeds", default=2, show_default=True, help="Runs of every variant.")
@click.option("--share", default=1.0, show_default=True, help="Of the budget, for a trial.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The runs.")
def main(portraits: str, scenes: str, crowds: str, seeds: int, share: float, out: Path) -> None:
    """Measure what is not measured yet and print the table."""
    torch.set_num_threads(1)
    budget = Budget(portraits, scenes, crowds, share)
    bench, file = Bench(budget, out), out / "claims.json"
    results = kept(file, budget)

    def keep() -> None:
        out.mkdir(parents=True, exist_ok=True)
        whole = {"budget": asdict(budget), "results": results}
        file.with_suffix(".part").write_text(json.dumps(whole, indent=2) + "\n")
        file.with_suffix(".part").replace(file)

    for seed in range(seeds):
        measured = results.setdefault(str(seed), {})
        todo = bench.points(seed) | bench.boxes(seed) | bench.faces(seed)
        for name in [name for name in todo if name not in measured]:
            measured[name] = todo[name]()
            click.echo(f"seed {seed}, {name}: {measured[name]['seconds']:.0f} s", err=True)
            keep()
        if not all("rate" in measured[name] for name in box_detectors.NAMES):
            for name, rate in bench.rates(seed).items():
                measured[name] = {**measured[name], "rate": rate}
            keep()
    chosen = {str(seed): results[str(seed)] for seed in range(seeds)}
    click.echo(table(chosen))


if __name__ == "__main__":
    main()
