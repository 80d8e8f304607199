"""The bundled face finder: from data to card in one command, resumable.

    python recipes/face_finder.py train --data DATA --out runs/face_finder
    python recipes/face_finder.py evaluate src/pentimento/weights/face_finder --data DATA

DATA is a folder that holds, each where there, `london_faces`, `lisa_zoom_cc0`, `faker_portraits`
and `congress_gray`: portraits of one person each, without boxes. Stages:

1. `portraits`: the bundled parser looks into likely squares of every photo until a face rests in
   its frame: that gives the photo's five points, and by them its box (`ops/face_points.py`);
2. `crowds`: trained on crowds of those photos and of rendered portraits, whose truths are known;
3. `scenes`: from the weights of `crowds`, longer, with turned heads and rendered scenes too;
4. `last`: what that finder takes for a face in photos of the training side is cut out, with what
   is around it, and joins the mixture for a last stage: buttons, ears, leaves;
5. scores, a sheet to look at, the card and the model.

Every stage leaves its result under `--out`; the same command continues where it was stopped.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pentimento import models
from pentimento.data.collage import SEEN, SMALLEST
from pentimento.data.crowds import VAL_SEEDS, read_scene
from pentimento.data.faces import read_rgb, split_of
from pentimento.engine import storage
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.metrics.detection import average_precision
from pentimento.ops.align import crop_to_picture
from pentimento.ops.boxes import iou
from pentimento.ops.face_points import face_box, five_points
from pentimento.ops.warp import cut
from pentimento.session.detect import detect
from pentimento.session.faces import Parser, settle, square
from pentimento.session.models import load_parser
from pentimento.session.see import see_faces
from pentimento.structures import Boxes
from pentimento.systems.perceive.retinaface import (
    Config,
    RetinaFace,
    compact,
    open_data,
    tiny,
)

ABOUT: Final = "face finder, weights/face_finder: about two hours on two busy cores"
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
_RAW: Final = 0.5  # least score that counts before scores are shifted
_SLACK: Final = 0.003  # of the photos: so much worse than the best level is as good
_AROUND: Final = 8  # times the size of what is no face: so much around it is kept
_MINED: Final = 256  # px, side of such a picture


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        config: the network.
        rendered: portraits of the world, where no folder is given.
        turned: portraits whose heads are turned, for the stage `scenes`.
        scenes: rendered scenes.
        steps: of `crowds`, `scenes` and `last`.
        photos: at most so many photos.
        unseen: rendered scenes of the evaluation.
        precision: of the forward passes.
    """

    config: Config
    rendered: int
    turned: int
    scenes: int
    steps: tuple[int, int, int]
    photos: int
    unseen: int
    precision: str = "bf16"


def full() -> Plan:
    """Return the plan of the bundled weights."""
    return Plan(compact(), 1000, 600, 800, (1300, 4000, 800), 10_000, 50)


def smoke() -> Plan:
    """Return a plan of seconds, for the tests."""
    return Plan(replace(tiny(), vertices=0), 8, 2, 1, (2, 2, 2), 4, 1, "32")


# Stages


def train_stage(
    name: str, spec: str, config: Config, plan: Plan, out: Path, start: RetinaFace | None, seed: int
) -> RetinaFace:
    """Train one stage, or continue it, or return it where it is done."""
    run = out / name
    if not (run / "done").exists():
        torch.manual_seed(seed)
        system = RetinaFace(config)
        if start is not None:
            # A start without some head leaves that head to chance.
            left = system.networks.load_state_dict(start.networks.state_dict(), strict=False)
            assert not left.unexpected_keys
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
            about={"data": spec, "recipe": "face_finder", "stage": name},
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
    return name_of(photo, data)


def name_of(photo: Path, data: Path) -> str:
    """Return a name for a photo that no other one has."""
    return "-".join(photo.relative_to(data).with_suffix("").parts)


def locate_all(parser: Parser, data: Path, out: Path, limit: int) -> int:
    """Write `images/` and `truths/` of every photo with a sure face; count them."""
    for name in ("images", "truths"):
        (out / name).mkdir(parents=True, exist_ok=True)
    looked = out / "looked.json"
    done: dict[str, bool] = json.loads(looked.read_text()) if looked.exists() else {}
    for photo in list(photos_of(data))[:limit]:
        name = name_of(photo, data)
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
    labels = parser.probabilities(crop, tta=True).argmax(0).astype(np.uint8)
    points = five_points(labels)
    if points is None:
        return False
    points = np.column_stack([points, np.ones(5)]) @ matrix.T
    box = face_box(points)
    scale = min(1.0, _KEPT / (box[3] - box[1]))
    rgb = np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    truth = {
        "person": person,
        "score": round(best.score, 3),
        "width": rgb.shape[1],
        "box": (scale * box).round(2).tolist(),
        "landmarks": {"5": (scale * points).round(2).tolist()},
    }
    Image.fromarray(rgb).save(out / "images" / f"{name}.jpg", quality=93)
    storage.replace(out / "truths" / f"{name}.json", json.dumps(truth).encode())
    return True


def mine(finder: RetinaFace, data: Path, portraits: Path, out: Path) -> int:
    """Cut out what is taken for a face and is none, in photos of the training side; count them."""
    for name in ("images", "truths"):
        (out / name).mkdir(parents=True, exist_ok=True)
    if not (out / "looked").exists():
        for photo in photos_of(data):
            facts = portraits / "truths" / f"{name_of(photo, data)}.json"
            if split_of(person_of(photo, data)) == "train" and facts.exists():
                _mine(finder, read_rgb(photo), json.loads(facts.read_text()), out, facts.stem)
        (out / "looked").touch()
    return len(list((out / "truths").iterdir()))


def _mine(
    finder: RetinaFace, rgb: NDArray[np.uint8], facts: dict[str, Any], out: Path, name: str
) -> None:
    """Keep what is no face of one photo, as pictures whose truth is the part of the face there."""
    scale = rgb.shape[1] / facts["width"]
    box, points = scale * np.array(facts["box"]), scale * np.array(facts["landmarks"]["5"])
    for number, wrong in enumerate(detect(rgb, finder, _RAW)):
        if _iou(wrong.box, box) > 0.2:
            continue
        side = min(_AROUND * wrong.size, *rgb.shape[:2])
        corner = (wrong.box[:2] + wrong.box[2:]) / 2 - side / 2
        corner = corner.clip(0, np.array(rgb.shape[1::-1]) - side)
        (left, top), side = corner.astype(int), int(side)
        part = rgb[top : top + side, left : left + side]
        smooth = cv2.INTER_AREA if side > _MINED else cv2.INTER_CUBIC
        part = np.asarray(cv2.resize(part, (_MINED, _MINED), interpolation=smooth), np.uint8)
        ratio = _MINED / side
        moved = ratio * (box - [left, top, left, top])
        shown = moved.clip(0, _MINED)
        truth: dict[str, Any] = {"person": facts["person"]}
        if (shown[2:] - shown[:2]).prod() > SEEN * (moved[2:] - moved[:2]).prod():
            truth["box"] = shown.round(2).tolist()
            truth["landmarks"] = {"5": (ratio * (points - [left, top])).round(2).tolist()}
        Image.fromarray(part).save(out / "images" / f"{name}-{number}.png")
        storage.replace(out / "truths" / f"{name}-{number}.json", json.dumps(truth).encode())


def calibrate(finder: RetinaFace, photos: list[Path]) -> float:
    """Shift the scores so that 0.5 tells the one face of every photo from all else.

    Hard negatives are trained on as often as faces, so raw scores are far too high. Of all levels
    that are right in as many photos as the best one, but for three in a thousand, it is the lowest:
    the more of the faces in scenes are shown. Returns the raw score that 0.5 means now.
    """
    best, second = [], []
    for photo in photos:
        scores = sorted(
            (face.score for face in detect(read_rgb(photo), finder, _RAW)), reverse=True
        )
        best.append((*scores, 0.0)[0])
        second.append((*scores, 0.0, 0.0)[1])
    steps = 1 / (1 + np.exp(-np.linspace(0, 6.5, 261)))
    right = np.array([np.mean((np.array(best) >= t) & (np.array(second) < t)) for t in steps])
    level = float(steps[right >= right.max() - _SLACK].min())
    with torch.no_grad():
        for name, parameter in finder.networks["detector"].named_parameters():
            if name.startswith("heads.scores.") and name.endswith("bias"):
                parameter[1::2] -= float(np.log(level / (1 - level)))
    return level


# Evaluation


def score_scenes(finder: RetinaFace, count: int) -> dict[str, Any]:
    """Return average precision on rendered scenes of unseen seeds, searched as photos are."""
    truths, answers = [], []
    for seed in range(VAL_SEEDS, VAL_SEEDS + count):
        scene = read_scene(seed)
        size = np.sqrt((scene.boxes[:, 2:] - scene.boxes[:, :2]).prod(1))
        large = size >= SMALLEST
        truths.append(scene.boxes[large].clip(0, [*scene.image.shape[1::-1]] * 2))
        found = detect(scene.image, finder, 0.02)
        answers.append(
            Boxes(
                np.array([f.box for f in found], np.float32).reshape(-1, 4),
                np.array([f.score for f in found], np.float32),
            )
        )
    return {
        "scenes": count,
        "faces": sum(map(len, truths)),
        **average_precision(truths, answers),
    }


Truth = Callable[[Path, int], NDArray[np.float64] | None]
"""Photo and its width → the box of its face in pixels, or None where no face was sure."""


def score_photos(finder: RetinaFace, photos: list[Path], truth: Truth) -> dict[str, Any]:
    """Count over portraits of one person: exactly one box, and the right one; others."""
    one = found = extra = 0
    for photo in photos:
        rgb = read_rgb(photo)
        faces = detect(rgb, finder)
        box = truth(photo, rgb.shape[1])
        hit = any(box is None or _iou(face.box, box) >= 0.5 for face in faces)
        found += hit
        one += hit and len(faces) == 1
        extra += len(faces) - hit
    count = len(photos)
    return {"photos": count, "one": one / count, "found": found / count, "extra": extra / count}


def _iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the overlap of two boxes."""
    return float(iou(torch.from_numpy(a)[None].double(), torch.from_numpy(b)[None].double()))


def evaluate_all(
    finder: RetinaFace, data: Path, portraits: Path, unseen: int
) -> dict[str, dict[str, Any]]:
    """Measure on unseen scenes, and on the photos: all of them, and people never trained on."""
    scores = {"scenes": score_scenes(finder, unseen)}

    def truth(photo: Path, width: int) -> NDArray[np.float64] | None:
        path = portraits / "truths" / f"{name_of(photo, data)}.json"
        if not path.exists():
            return None
        facts = json.loads(path.read_text())
        return np.asarray(np.array(facts["box"]) * (width / facts["width"]))

    photos = list(photos_of(data))
    for source in _SOURCES:
        some = [photo for photo in photos if (data / source) in photo.parents]
        if some:
            scores[source] = score_photos(finder, some, truth)
    held_out = [photo for photo in photos if split_of(person_of(photo, data)) == "val"]
    if held_out:
        scores["people held out"] = score_photos(finder, held_out, truth)
    return scores


def sheet(finder: RetinaFace, data: Path) -> NDArray[np.uint8]:
    """Return a sheet of photos and scenes with what was found in them."""
    import skimage.data

    astronaut = skimage.data.astronaut()  # type: ignore[no-untyped-call]  # has no types
    photos = list(photos_of(data))
    pictures = [astronaut, *map(read_rgb, photos[:: len(photos) // 15 + 1])]
    pictures += [read_scene(VAL_SEEDS + number).image for number in range(8)]
    tiles = []
    for rgb in pictures:
        seen = see_faces(rgb, "", finder).overlay()
        scale = 320 / max(seen.shape)
        seen = np.asarray(cv2.resize(seen, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        tile = np.zeros((320, 320, 3), np.uint8)
        tile[: seen.shape[0], : seen.shape[1]] = seen
        tiles.append(tile)
    tiles += [np.zeros((320, 320, 3), np.uint8)] * (-len(tiles) % 6)
    return np.vstack([np.hstack(tiles[i : i + 6]) for i in range(0, len(tiles), 6)])


# The card


def table(scores: dict[str, dict[str, Any]]) -> str:
    """Return the scores as Markdown."""
    scenes = scores["scenes"]
    lines = [
        "| rendered scenes | faces | AP | AP at IoU 0.5 | AP at 0.75 |",
        "|---|---|---|---|---|",
        f"| {scenes['scenes']} unseen | {scenes['faces']} | {scenes['ap']:.3f} "
        f"| {scenes['ap50']:.3f} | {scenes['ap75']:.3f} |",
        "",
        "| portraits | photos | exactly one box, the right one | right box found "
        "| other boxes per photo |",
        "|---|---|---|---|---|",
    ]
    for name, score in scores.items():
        if name != "scenes":
            lines.append(
                f"| {name} | {score['photos']} | {score['one']:.1%} | {score['found']:.1%} "
                f"| {score['extra']:.3f} |"
            )
    return "\n".join(lines)


def card(scores: dict[str, dict[str, Any]], facts: dict[str, Any]) -> str:
    """Return the card of the trained finder."""
    text = (Path(__file__).parent / "face_finder_card.md").read_text()
    for name, value in {**facts, "scores": table(scores)}.items():
        text = text.replace("{" + name + "}", str(value))
    return text


@click.group()
def cli() -> None:
    """Train and measure the bundled face finder."""


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Runs and sheets.")
@click.option("--world", help="Rendered portraits of your own, as a data specification.")
@click.option("--weights", type=click.Path(path_type=Path), help="Model folder to write.")
@click.option(
    "--start", type=click.Path(path_type=Path), help="A finder to go on from, in place of `crowds`."
)
@click.option("--steps", type=int, help="Of the stage `scenes`.  [default: 4000]")
@click.option("--seed", default=0, show_default=True)
@click.option("--smoke", "short", is_flag=True, help="Seconds instead of an hour, for the tests.")
def train(
    data: Path,
    out: Path,
    world: str | None,
    weights: Path | None,
    start: Path | None,
    steps: int | None,
    seed: int,
    short: bool,
) -> None:
    """Run all stages, or continue them, and write model, scores, sheet and card."""
    plan = smoke() if short else full()
    rendered = world or f"world:count={plan.rendered}"
    out.mkdir(parents=True, exist_ok=True)
    portraits = out / "portraits"
    count = locate_all(load_parser(), data, portraits, plan.photos)
    photos = f",1.2*{portraits}" if count > 1 else ""
    first = replace(plan.config, steps=plan.steps[0])
    if start is None:
        finder = train_stage("crowds", rendered + photos, first, plan, out, None, seed)
    else:
        finder = models.load(start)
    steps = steps or plan.steps[1]
    second = replace(plan.config, steps=steps, lr=plan.config.lr / 2)
    mixture = f"{rendered}{photos},turned:count={plan.turned},2*scenes:count={plan.scenes}"
    finder = train_stage("scenes", mixture, second, plan, out, finder, seed + 1)
    wrong = mine(finder, data, portraits, out / "mined")
    if wrong > 1:
        mixture += f",{out / 'mined'}"
    third = replace(plan.config, steps=plan.steps[2], lr=plan.config.lr / 8)
    finder = train_stage("last", mixture, third, plan, out, finder, seed + 2)

    trained = [p for p in photos_of(data) if split_of(person_of(p, data)) == "train"]
    shown = trained[:: len(trained) // 350 + 1]
    level = calibrate(finder, shown)
    scores = evaluate_all(finder, data, portraits, plan.unseen)
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    Image.fromarray(sheet(finder, data)).save(out / "sheet.png")
    stages = [json.loads(path.read_text()) for path in sorted(out.glob("*/done"))]
    facts = {
        "seed": seed,
        "steps": f"{'' if start else f'{plan.steps[0]} + '}{steps} + {plan.steps[2]}",
        "rendered": len(open_data(rendered, "train", plan.config)),
        "turned": plan.turned,
        "scenes": plan.scenes,
        "photos": count,
        "wrong": wrong,
        "calibrated": len(shown),
        "level": f"{level:.3f}",
        "minutes": round(sum(stage["seconds"] for stage in stages) / 60),
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)",
        "parameters": f"{sum(p.numel() for p in finder.networks.parameters()):,}",
    }
    models.save(finder, weights or out / "model", card(scores, facts), half=True)
    click.echo(table(scores))


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option(
    "--portraits", type=click.Path(path_type=Path), required=True,
    help="The folder of that name that `train` has left in its --out.",
)  # fmt: skip
@click.option("--unseen", default=50, show_default=True, help="Rendered scenes.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write them here.")
def evaluate(model: Path, data: Path, portraits: Path, unseen: int, path: Path | None) -> None:
    """Print the scores of MODEL on scenes it has not seen, and on every portrait at hand."""
    scores = evaluate_all(models.load(model), data, portraits, unseen)
    click.echo(table(scores))
    if path is not None:
        path.write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    cli()
