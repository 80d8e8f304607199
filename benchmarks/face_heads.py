"""Do RetinaFace's heads help each other? Boxes alone, with five points, with vertices too.

    python benchmarks/face_heads.py --out runs/face_heads --seeds 3

Every row is trained anew with the same pictures in the same order, the same steps and the same
first weights of what it shares with the others; each seed has an order and weights of its own. The
answer depends on what the losses weigh (`--weights`: of boxes, points and vertices, beside the
score's 1); the default trains boxes as the bundled finder's, the others less. Each is asked for the
faces of pictures of the same kinds, of people and scenes that no training has seen. *AP* is COCO's.
*Recall* is the share of faces with a box that overlaps by half, by the root of the true box's area
in pixels. *NME* is the mean distance of the points, or vertices, of the faces that were found, over
that root. A stopped benchmark continues.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import statistics
import time
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from pentimento import models
from pentimento.data.collage import SMALLEST, Crowd
from pentimento.data.crowds import open_crowds
from pentimento.engine import rng
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.engine.system import Split
from pentimento.metrics.detection import average_precision, errors_of_found
from pentimento.ops.boxes import iou
from pentimento.systems.perceive.retinaface import Config, RetinaFace, compact
from pentimento.world.face_mesh import VERTICES

ARMS: Final[dict[str, dict[str, Any]]] = {
    "boxes": {"points": False, "vertices": 0},
    "boxes, points": {"points": True, "vertices": 0},
    "boxes, points, vertices": {"points": True, "vertices": VERTICES},
}
_SIZES: Final = (SMALLEST, 20, 40, 1000)
_COLUMNS: Final = ("ap", "ap50", "ap75", "small", "middle", "large", "nme", "vertex_nme")


@plain_dataclass(frozen=True)
class Drawn:
    """Pictures that are drawn once: that takes longer than to learn from them.

    Attributes:
        crowds: the pictures, with all truths.
        vertices: of a face that are told.
    """

    crowds: list[Crowd]
    vertices: int

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.crowds)

    def sample(self, index: int, rng: np.random.Generator) -> Crowd:
        """Return a picture as it is."""
        crowd = self.crowds[index]
        return replace(crowd, vertices=crowd.vertices[:, : self.vertices])


def draw(spec: str, split: Split, size: int, count: int) -> list[Crowd]:
    """Return pictures of crowds."""
    data, chance = open_crowds(spec, split, size, VERTICES), np.random.default_rng(0)
    return [data.sample(i % len(data), chance) for i in range(count)]


def base(
    backbone: str, size: int, steps: int, weights: tuple[float, float, float]
) -> dict[str, Any]:
    """Return what all arms have in common: fields of their configuration."""
    box, point, vertex = weights
    return {
        "backbone": backbone, "size": size, "steps": steps,
        "box_weight": box, "point_weight": point, "vertex_weight": vertex,
    }  # fmt: skip


def train(config: Config, crowds: tuple[list[Crowd], ...], run: Path, seed: int) -> RetinaFace:
    """Train one arm, or continue it, or return it where it is done."""
    if not (run / "done").exists():
        rng.seed(seed)
        system = RetinaFace(config)
        began = time.process_time()
        settings = Settings(
            steps=config.steps, batch_size=config.batch_size, seed=seed, save_every=100,
            validate_every=0, validate_samples=32, sheet_every=0, precision="bf16", workers=0,
            clip=10.0, average_decay=0.99,
        )  # fmt: skip
        sides = [Drawn(side, config.vertices) for side in crowds]
        resume = (run / "checkpoints").exists()
        outcome = fit(system, run, sides[0], sides[1], settings, resume=resume)
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        (run / "done").write_text(json.dumps({"seconds": time.process_time() - began}))
    trained: RetinaFace = models.load(run)
    return trained


def score(finder: RetinaFace, crowds: list[Crowd]) -> dict[str, float]:
    """Return the scores of a finder on pictures."""
    truths, answers, sizes, hit = [], [], [], []
    points: list[float] = []
    vertices: list[float] = []
    for crowd in crowds:
        size = np.sqrt((crowd.boxes[:, 2:] - crowd.boxes[:, :2]).prod(1))
        large = size >= SMALLEST
        boxes = crowd.boxes[large].clip(0, [*crowd.image.shape[1::-1]] * 2)
        found = finder.predict(crowd.image, threshold=0.02)
        truths.append(boxes)
        answers.append(found.boxes)
        about = found.boxes, boxes, size[large]
        points += errors_of_found(*about, found.points, crowd.points[large])
        if finder.config.vertices:
            vertices += errors_of_found(*about, found.vertices, crowd.vertices[large])
        overlaps = iou(torch.from_numpy(boxes), torch.from_numpy(found.boxes.xyxy))
        best = overlaps.max(1).values if overlaps.shape[1] else torch.zeros(len(boxes))
        hit += (best >= 0.5).tolist()
        sizes += size[large].tolist()
    bins = (
        (n, a, b) for n, (a, b) in zip(("small", "middle", "large"), pairwise(_SIZES), strict=True)
    )
    edges = np.array(sizes)
    return {
        **average_precision(truths, answers),
        **{name: float(np.mean(np.array(hit)[(edges >= a) & (edges < b)])) for name, a, b in bins},
        "nme": float(np.mean(points)) if points else float("nan"),
        "vertex_nme": float(np.mean(vertices)) if vertices else float("nan"),
        "faces": len(sizes),
    }


def gflop(finder: RetinaFace, side: int) -> float:
    """Return the arithmetic of one square picture, two for each multiplication, in 10⁹."""
    with FlopCounterMode(display=False) as counter:
        finder.predict(np.zeros((side, side, 3), np.uint8))
    return float(counter.get_total_flops() / 1e9)


def table(scores: dict[str, list[dict[str, float]]]) -> str:
    """Return means over the seeds, and the seeds' own values behind them, as Markdown."""
    lines = [
        "| heads | AP | AP50 | AP75 | recall 10–20 | 20–40 | 40 px and more | points' NME "
        "| vertices' NME |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in scores.items():
        cells = []
        for column in _COLUMNS:
            values = [row[column] for row in rows]
            each = " / ".join(f"{value:.3f}" for value in values)
            mean = f"{statistics.mean(values):.3f}" + (f" ({each})" if len(values) > 1 else "")
            cells.append("–" if np.isnan(values[0]) else mean)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--data", default="world:count=1200,2*scenes:count=400", show_default=True)
@click.option("--backbone", default="lean", show_default=True)
@click.option("--size", default=128, show_default=True, help="Side of the training pictures.")
@click.option("--pictures", default=3000, show_default=True, help="To train on.")
@click.option("--steps", default=1000, show_default=True, help="Of 16 pictures.")
@click.option("--weights", nargs=3, type=float, default=(2, 0.2, 0.2), show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Runs of every row.")
@click.option("--unseen", default=400, show_default=True, help="Pictures to score on.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The runs.")
def main(
    data: str,
    backbone: str,
    size: int,
    pictures: int,
    steps: int,
    weights: tuple[float, float, float],
    seeds: int,
    unseen: int,
    out: Path,
) -> None:
    """Train what is not trained yet, score everything, print the table."""
    torch.set_num_threads(1)
    crowds = draw(data, "train", size, pictures), draw(data, "val", size, unseen)
    common = base(backbone, size, steps, weights)
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    for seed in range(seeds):
        for name, values in ARMS.items():
            run = out / f"{name.replace(', ', '_')}_{seed}"
            finder = train(replace(compact(), **common, **values), crowds, run, seed)
            scores[name].append(score(finder, crowds[1]))
            (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    faces = scores["boxes"][0]["faces"]
    click.echo(f"{faces:.0f} faces in {unseen} unseen pictures; {backbone}, {steps} steps of 16\n")
    click.echo(table(scores))


if __name__ == "__main__":
    main()
