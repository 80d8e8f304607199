"""What each loss of the translation GANs is good for, measured as pix2pix's Table 1 was.

    python benchmarks/ablations.py --world DIR [--world DIR] --out runs/ablations [GROUP …]

DIR is a folder of `pentimento world portraits`. Label maps are translated into portraits of 64
pixels; the bundled face parser looks at what was painted, and its answer is compared with the label
map. A picture that shows what the map says scores high, whatever its colours. `real` is the score
of the true portraits: no picture can be expected to beat it. Sharpness is the mean gradient as a
share of theirs, `looks` the perceptual distance from them.

| GROUP | what is compared |
|---|---|
| `losses` | pix2pix: L1, GAN, cGAN, L1+GAN, L1+cGAN (Isola et al. 2017, table 1) |
| `cycle` | CycleGAN with and without the cycle loss (Zhu et al. 2017, table 4); no identity loss |
| `features` | pix2pixHD's global generator with and without feature matching |

Every run is a `pentimento train` of its own, which is printed; a stopped benchmark continues. The
last model is scored, not the best, on the portraits that the split by name holds out; GROUP.jpg
shows the first of them: label map, every row of the table, truth.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
import torch
from PIL import Image

from pentimento import catalog, models
from pentimento.data.faces import (
    open_faces,
    read_rgb,
    read_values,
    resize_image,
    resize_labels,
)
from pentimento.labels import CELEBAMASK19
from pentimento.metrics.images import sharpness, ssim
from pentimento.metrics.perceptual import PerceptualDistance
from pentimento.metrics.segmentation import Confusion
from pentimento.ops.planes import pixels_of
from pentimento.session.models import load_parser

_SIZE: Final = 64
_LOAD: Final = 72
_HOW: Final = ("--precision", "bf16", "--workers", "0", "--validate-every", "0",
               "--sheet-every", "0", "--save-every", "250")  # fmt: skip
_PALETTE: Final = np.array([*CELEBAMASK19.colours, *[(0, 0, 0)] * 237], np.uint8)


@dataclass(frozen=True)
class Arm:
    """One row of a table: a name and the fields of Config that make it."""

    name: str
    system: str
    values: tuple[str, ...]


def _arms(system: str, shared: str, arms: dict[str, str]) -> list[Arm]:
    return [Arm(name, system, (*shared.split(), *own.split())) for name, own in arms.items()]


GROUPS: Final = {
    "losses": _arms(
        "pix2pix",
        f"in_channels=19 size={_SIZE} load_size={_LOAD} depth=6 critic_layers=2 steps=2000",
        {
            "L1": "critic=none",
            "GAN": "conditional=false l1_weight=0",
            "cGAN": "l1_weight=0",
            "L1+GAN": "conditional=false",
            "L1+cGAN": "",
        },
    ),
    "cycle": _arms(
        "cyclegan",
        f"size={_SIZE} load_size={_LOAD} width=24 critic_width=24 critic_layers=2 blocks=4 "
        "identity_weight=0 steps=1000",
        {"cycle+GAN": "", "GAN alone": "cycle_weight=0"},
    ),
    "features": _arms(
        "pix2pixhd",
        f"size=[{_SIZE},{_SIZE}] features=0 enhance=false scales=2 downs=2 blocks=4 "
        "critic_layers=2 batch_size=4 steps=600",
        {"with matching": "", "without": "feature_weight=0"},
    ),
}


def shrink(worlds: tuple[Path, ...], out: Path) -> None:
    """Keep all portraits at the size of training, so that no step waits for reading."""
    if (out / "done").exists():
        return
    for name, read, resize in (
        ("images", read_rgb, resize_image),
        ("labels", read_values, resize_labels),
    ):
        (out / name).mkdir(parents=True, exist_ok=True)
        for world in worlds:
            for path in sorted((world / name).glob("*.png")):
                small = resize(read(path), _LOAD)
                Image.fromarray(small).save(out / name / f"{world.name}-{path.name}")
    (out / "done").touch()


def train(arm: Arm, spec: str, run: Path, seed: int) -> None:
    """Train one arm to its end, from wherever it stands."""
    words = [sys.executable, "-m", "pentimento", "train"]
    if (run / "run.json").exists():
        words += ["--resume", str(run)]
    else:
        words += [arm.system, "--data", spec, "--preset", "compact", "--out", str(run)]
        words += [word for value in arm.values for word in ("--set", value)]
        words += ["--seed", str(seed), *_HOW]
    click.echo(" ".join(["pentimento", *words[3:]]))
    subprocess.run(words, check=True)


def score(painted: np.ndarray[Any, Any], faces: list[Any], parser: Any) -> dict[str, float]:
    """Compare what the parser sees in pictures with the label maps that they were painted from."""
    confusion, looks, found = Confusion(CELEBAMASK19), PerceptualDistance(), []
    for picture, face in zip(painted, faces, strict=True):
        confusion.add(face.labels, parser.predict(picture).values)
        found.append(
            (ssim(face.image, picture), sharpness(picture), sharpness(face.image),
             looks(face.image, picture))
        )  # fmt: skip
    alike, sharp, true, apart = np.mean(found, 0).tolist()
    return {
        "pixel": confusion.pixel_accuracy(),
        "class": confusion.class_accuracy(),
        "iou": confusion.mean_iou(),
        "ssim": alike,
        "sharpness": sharp / true,
        "looks": apart,
    }


@torch.no_grad()
def paint(run: Path, spec: str, count: int) -> np.ndarray[Any, Any]:
    """Translate the held-out label maps; (N, S, S, 3) uint8."""
    system = models.load(run)
    module = catalog.row(catalog.name_of(type(system))).module()
    data = module.open_data(spec, "val", system.config)
    pictures = []
    for index in range(count):
        batch = system.collate([data.sample(index, np.random.default_rng(0))])
        if hasattr(batch, "labels"):
            seen = module.one_hot(batch.labels, system.config.classes)
        else:
            seen = batch.a if hasattr(batch, "a") else batch.condition
        pictures.append(pixels_of(system.predict(seen, seed=index)[0].numpy(), np.uint8))
    return np.stack(pictures)


def table(scores: dict[str, dict[str, float]]) -> str:
    """Return the scores as Markdown."""
    lines = [
        "| | per-pixel | per-class | class IoU | SSIM | sharpness | looks |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in scores.items():
        shown = " | ".join(f"{value:.3f}" for value in found.values())
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def sheet(faces: list[Any], columns: list[np.ndarray[Any, Any]], rows: int = 5) -> Image.Image:
    """Draw label maps, what every arm painted from them, and the truth, at twice their size."""
    lines = [
        np.hstack([_PALETTE[face.labels], *(column[n] for column in columns), face.image])
        for n, face in enumerate(faces[:rows])
    ]
    drawn = Image.fromarray(np.vstack(lines))
    return drawn.resize((2 * drawn.width, 2 * drawn.height), Image.Resampling.BICUBIC)


@click.command(help=__doc__)
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)))
@click.option("--world", "worlds", multiple=True, type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--count", default=200, show_default=True, help="Held-out portraits to score.")
@click.option("--seed", default=0, show_default=True)
def main(
    groups: tuple[str, ...], worlds: tuple[Path, ...], out: Path, count: int, seed: int
) -> None:
    """Train what is not trained yet, score everything, write `scores.json`, print the tables."""
    shrink(worlds, out / "faces")
    spec = str(out / "faces")
    held_out = open_faces(spec, "val", _SIZE)
    count = min(count, len(held_out))
    faces = [held_out.sample(index, np.random.default_rng(index)) for index in range(count)]
    parser = load_parser()
    real = score(np.stack([face.image for face in faces]), faces, parser)
    for group in groups or tuple(GROUPS):
        scores, columns = {}, []
        for arm in GROUPS[group]:
            run = out / group / arm.name.replace(" ", "_")
            own = spec if arm.system == "pix2pixhd" else f"{spec}:labels2portrait"
            train(arm, own, run, seed)
            columns.append(paint(run, own, count))
            scores[arm.name] = score(columns[-1], faces, parser)
        scores["real"] = real
        sheet(faces, columns).save(out / f"{group}.jpg", quality=88)
        (out / f"{group}.json").write_text(json.dumps(scores, indent=2) + "\n")
        click.echo(f"\n{group}, {count} held-out portraits of {_SIZE}²\n\n{table(scores)}\n")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    main()
