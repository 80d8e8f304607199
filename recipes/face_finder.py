"""The bundled face finder: from data to card in one command, resumable.

    python recipes/face_finder.py train --data DATA --out runs/face_finder
    python recipes/face_finder.py evaluate src/pentimento/weights/face_finder --data DATA

DATA is a folder that holds, each where there, `london_faces`, `lisa_zoom_cc0`, `faker_portraits`
and `congress_gray`: portraits of one person each, without boxes. Stages:

1. `portraits`: the bundled parser looks into likely squares of every photo until a face rests in
   its frame: that gives the photo's five points, and by them its box (`ops/face_points.py`);
2. `finder`: trained on crowds of those photos and of rendered portraits, whose truths are known;
3. scores, a sheet to look at, the card and the model.

Every stage leaves its result under `--out`; the same command continues where it was stopped.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click
import cv2
import numpy as np
import torch
from PIL import Image

from pentimento import models
from pentimento.data.faces import read_rgb
from pentimento.engine import storage
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.ops.align import crop_to_picture
from pentimento.ops.face_points import face_box, five_points
from pentimento.ops.warp import cut
from pentimento.session.faces import Parser, settle, square
from pentimento.session.models import load_parser
from pentimento.systems.perceive.retinaface import (
    Config,
    RetinaFace,
    compact,
    open_data,
    tiny,
)

ABOUT: Final = "face finder, weights/face_finder: about an hour on two busy cores"
_SOURCES: Final = (
    "london_faces/neutral", "london_faces/smiling", "london_faces/canada", "lisa_zoom_cc0",
    "faker_portraits", "congress_gray",
)  # fmt: skip
# Where the FFHQ square of a portrait may lie: its side, and its middle's distance from the
# picture's, in shares of the picture's short side.
_LIKELY: Final = (
    (0.96, -0.07), (0.6, -0.02), (0.6, -0.16), (0.42, -0.22), (0.8, -0.12), (1.1, -0.04),
    (0.35, -0.1), (0.3, -0.3),
)  # fmt: skip
_SURE: Final = 0.8
_KEPT: Final = 220  # px, height of the largest face that is kept for training


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        config: the network.
        rendered: portraits of the world, where no folder is given.
        photos: at most so many photos.
        precision: of the forward passes.
    """

    config: Config
    rendered: int
    photos: int
    precision: str = "bf16"


def full() -> Plan:
    """Return the plan of the bundled weights."""
    return Plan(compact(), 3000, 10_000)


def smoke() -> Plan:
    """Return a plan of seconds, for the tests."""
    return Plan(replace(tiny(), vertices=0, steps=2), 8, 4, "32")


# Stages


def train_finder(spec: str, plan: Plan, out: Path, seed: int) -> RetinaFace:
    """Train, or continue, or return what is trained already."""
    config = plan.config
    run = out / "finder"
    if not (run / "done").exists():
        torch.manual_seed(seed)
        system = RetinaFace(config)
        settings = Settings(
            steps=config.steps,
            batch_size=config.batch_size,
            seed=seed,
            save_every=100,
            validate_every=300,
            validate_samples=64,
            sheet_every=300,
            precision=plan.precision,  # type: ignore[arg-type]  # pydantic checks the literal
            workers=0,
            clip=10.0,
            average_decay=0.998,
        )
        began = time.time()
        outcome = fit(
            system,
            run,
            open_data(spec, "train", config),
            open_data(spec, "val", config),
            settings,
            about={"data": spec, "recipe": "face_finder"},
            resume=(run / "checkpoints").exists(),
        )
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        (run / "done").write_text(json.dumps({"seconds": time.time() - began}))
    trained: RetinaFace = models.load(run)
    return trained


def photos_of(data: Path) -> Iterator[Path]:
    """Yield the portraits, one person each."""
    for source in _SOURCES:
        yield from sorted((data / source).rglob("*.jpg"))


def person_of(photo: Path, data: Path) -> str:
    """Return who is on a photo, by the names that `data/london.py` gives the London people too."""
    if "london_faces" in photo.parts:
        group = "canada" if "canada" in photo.parts else "neutral"
        return f"{group}-{photo.stem.split('_')[0]}"
    if "lisa_zoom_cc0" in photo.parts:
        return "lisa"
    return "-".join(photo.relative_to(data).with_suffix("").parts)


def locate_all(parser: Parser, data: Path, out: Path, limit: int) -> int:
    """Write `images/` and `truths/` of every photo with a sure face, cut around it; count them."""
    for name in ("images", "truths"):
        (out / name).mkdir(parents=True, exist_ok=True)
    looked = out / "looked.json"
    done: dict[str, bool] = json.loads(looked.read_text()) if looked.exists() else {}
    for photo in list(photos_of(data))[:limit]:
        name = "-".join(photo.relative_to(data).with_suffix("").parts)
        if name not in done:
            done[name] = locate(parser, photo, person_of(photo, data), out, name)
            storage.replace(looked, json.dumps(done).encode())
    return sum(done.values())


def locate(parser: Parser, photo: Path, person: str, out: Path, name: str) -> bool:
    """Find the one face of a portrait by the parser alone and keep it; False if it is not sure."""
    rgb = read_rgb(photo)
    factor = min(1.0, 800 / max(rgb.shape))
    rgb = np.asarray(cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    height, width = rgb.shape[:2]
    short = min(height, width)
    best = None
    for side, below in _LIKELY:
        face = settle(rgb, parser, square(width / 2, height / 2 + below * short, side * short))
        if face is not None and (best is None or face.score > best.score):
            best = face
        if best is not None and best.score > _SURE:
            break
    if best is None:
        return False
    matrix = crop_to_picture(best.quad, 256)
    crop = np.rint(cut(rgb, matrix, 256)).astype(np.uint8)
    labels = parser.probabilities(crop, flip=True).argmax(0).astype(np.uint8)
    points = five_points(labels)
    if points is None:
        return False
    points = np.column_stack([points, np.ones(5)]) @ matrix.T
    box = face_box(points)
    reach = 0.9 * (box[2:] - box[:2])
    left, top = np.floor(box[:2] - reach).astype(int).clip(0)
    right, bottom = np.ceil(box[2:] + reach).astype(int)
    piece = rgb[top:bottom, left:right]
    scale = min(1.0, _KEPT / (box[3] - box[1]))
    size = (round(scale * piece.shape[1]), round(scale * piece.shape[0]))
    piece = np.asarray(cv2.resize(piece, size, interpolation=cv2.INTER_AREA))
    points = scale * (points - [left, top])
    truth = {
        "person": person,
        "score": round(best.score, 3),
        "box": (scale * (box - [left, top, left, top])).round(2).tolist(),
        "landmarks": {"5": points.round(2).tolist()},
    }
    Image.fromarray(piece).save(out / "images" / f"{name}.jpg", quality=93)
    storage.replace(out / "truths" / f"{name}.json", json.dumps(truth).encode())
    return True


@click.group()
def cli() -> None:
    """Train and measure the bundled face finder."""


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Runs and sheets.")
@click.option("--world", help="Rendered portraits of your own, as a data specification.")
@click.option("--weights", type=click.Path(path_type=Path), help="Model folder to write.")
@click.option("--seed", default=0, show_default=True)
@click.option("--smoke", "short", is_flag=True, help="Seconds instead of an hour, for the tests.")
def train(
    data: Path, out: Path, world: str | None, weights: Path | None, seed: int, short: bool
) -> None:
    """Run all stages, or continue them, and write model, scores, sheet and card."""
    plan = smoke() if short else full()
    rendered = world or f"world:count={plan.rendered}"
    out.mkdir(parents=True, exist_ok=True)
    portraits = out / "portraits"
    count = locate_all(load_parser(), data, portraits, plan.photos)
    spec = f"{rendered},2*{portraits}" if count > 1 else rendered
    train_finder(spec, plan, out, seed)


if __name__ == "__main__":
    cli()
