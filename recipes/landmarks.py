"""The bundled 68-point landmarks, from data to card.

    python recipes/landmarks.py train --data DATA --out runs/landmarks --weights landmarks
    python recipes/landmarks.py evaluate landmarks --data DATA
    python recipes/landmarks.py conventions runs/world-only --data DATA

DATA is the folder that holds `london_faces` and, where there, `lisa_zoom_cc0`, `faker_portraits`
and `congress_gray` (never trained on). `--world` names rendered portraits of your own (folders as
`pentimento world portraits --size 256` writes), else they are drawn. Training continues where it
was stopped when the same command is given again; then come scores, a sheet to look at, card and
model. `conventions` measures where the marks of photos differ from what a model expects that was
trained on rendered portraits alone, beyond what `data/landmarks.py` corrects already.
"""

import csv
import json
import platform
import time
from collections import defaultdict
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
from pentimento.data.augment import photograph
from pentimento.data.faces import FaceSample, one_side, read_rgb
from pentimento.data.landmarks import Marked, open_landmarks
from pentimento.data.london import divided, london_landmarks, read_tem
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.metrics.keypoints import area_under_curve, failure_rate, norms, point_errors
from pentimento.ops.align import crop_to_picture
from pentimento.ops.landmarks import GROUPS, LINES, crop_of, mirror_order, roll_of
from pentimento.ops.smoothing import OneEuro
from pentimento.ops.warp import cut, invert
from pentimento.session.faces import find_faces
from pentimento.session.landmarks import landmarks, landmarks_in_box
from pentimento.session.models import load_parser
from pentimento.systems.perceive.landmarks import Config, Landmarks, compact, open_data, tiny

ABOUT: Final = "landmarks, weights/landmarks: about fifteen minutes of one core, data included"
_FRAMES: Final = 90  # of a jitter sequence, at 30 a second; the face rests for the first third
Points = NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        config: the network.
        world: rendered portraits to train on where no folder is named.
        unseen: rendered portraits of the evaluation.
        photos: photos without truth of each folder.
        sequences: rendered sequences of the jitter measure.
        precision: of the forward passes.
    """

    config: Config
    world: int
    unseen: int
    photos: int
    sequences: int
    precision: str = "bf16"


def full() -> Plan:
    """Return the plan of the bundled weights."""
    return Plan(compact(), 3000, 200, 60, 12)


def smoke() -> Plan:
    """Return a plan of seconds, for the tests."""
    return Plan(replace(tiny(), steps=2), 8, 2, 1, 1, "32")


def train_model(spec: str, plan: Plan, out: Path, seed: int) -> tuple[Landmarks, float]:
    """Train, or continue, or return what is done, and the seconds it took."""
    done = out / "done.json"
    if not done.exists():
        torch.manual_seed(seed)
        settings = Settings(
            steps=plan.config.steps,
            batch_size=plan.config.batch_size,
            seed=seed,
            save_every=100,
            validate_every=500,
            validate_samples=100,
            sheet_every=0,
            precision=plan.precision,  # type: ignore[arg-type]  # pydantic checks the literal
            workers=0,
            clip=5.0,
            average_decay=0.995,
        )
        began = time.process_time()
        outcome = fit(
            Landmarks(plan.config),
            out / "run",
            open_data(spec, "train", plan.config),
            open_data(spec, "val", plan.config),
            settings,
            about={"data": spec, "recipe": "landmarks"},
            resume=(out / "run" / "checkpoints").exists(),
        )
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        done.write_text(json.dumps({"seconds": time.process_time() - began}))
    trained: Landmarks = models.load(out / "run")
    return trained, json.loads(done.read_text())["seconds"]


# Evaluation


def scores_of(found: list[Points], truths: list[Points]) -> dict[str, Any]:
    """Return NME (inter-ocular, inter-pupil, box), failures, area, and NME by group of points."""
    a, b = np.stack(found), np.stack(truths)
    ocular = norms(b)
    errors = point_errors(a, b, ocular)
    return {
        "faces": len(a),
        "nme": float(errors.mean()),
        "nme_pupil": float(point_errors(a, b, norms(b, "inter-pupil")).mean()),
        "nme_box": float(point_errors(a, b, norms(b, "box")).mean()),
        "failures_8": failure_rate(errors, 0.08),
        "auc_8": area_under_curve(errors, 0.08),
        "groups": {
            name: float(point_errors(a[:, first:last], b[:, first:last], ocular).mean())
            for name, (first, last) in GROUPS[68].items()
        },
        "each": errors.tolist(),
    }


def held_out(data: Path) -> list[Marked]:
    """Return the London people of the validation side."""
    london = [Marked(who, read) for who, read in london_landmarks(data / "london_faces")]
    return one_side(london, "val", "london")


def score_london(model: Landmarks, data: Path) -> dict[str, Any]:
    """Score held-out people, found as a detector would: a box that is off by a few percent."""
    rng = np.random.default_rng(0)
    found, truths, people = [], [], []
    for face in held_out(data):
        image, sets = face.read()
        found.append(seen_in_photo(model, image, sets[68], rng))
        truths.append(sets[68])
        people.append(face.person)
    scores = scores_of(found, truths)
    each: dict[str, list[float]] = defaultdict(list)
    facts = people_facts(data / "london_faces")
    for person, error in zip(people, scores["each"], strict=True):
        for fact in facts.get(person, ()):
            each[fact].append(error)
    scores["people"] = {
        fact: [len(errors), float(np.mean(errors))] for fact, errors in sorted(each.items())
    }
    return scores


def seen_in_photo(
    model: Landmarks, image: NDArray[np.uint8], truth: Points, rng: np.random.Generator
) -> Points:
    """Return the points from a face box (forehead to chin) made of the truth and then jittered."""
    box = np.array(box_around(truth)).reshape(2, 2)
    middle = box.mean(0) + rng.normal(0, 0.03, 2) * (box[1, 1] - box[0, 1])
    reach = (box[1] - box[0]) / 2 * np.exp(rng.normal(0, 0.06))
    return landmarks_in_box(image, [*(middle - reach), *(middle + reach)], model).xy


def box_around(truth: Points) -> list[float]:
    """Return the face box (forehead to chin) that goes with 68 points."""
    side = float(np.ptp(truth, axis=0).max()) * 1.4 / 0.94
    middle = (truth.min(0) + truth.max(0)) / 2 - [0, 0.154 * side]
    reach = np.array([0.37 * side, side / 2])
    return [*(middle - reach), *(middle + reach)]


def people_facts(folder: Path) -> dict[str, list[str]]:
    """Return what the set says about each person: gender, ethnicity, and the age in two groups."""
    facts = {}
    for name, stem in (("neutral", "london_info"), ("canada", "canada_info")):
        path = folder / f"{stem}.csv"
        if not path.exists():
            continue
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                known = [row["face_gender"], row.get("face_eth", "")]
                if row["face_age"].isdigit():
                    known.append("30 or older" if int(row["face_age"]) >= 30 else "under 30")
                facts[f"{name}-{row['face_id']}"] = [fact for fact in known if fact]
    return facts


def score_world(model: Landmarks, spec: str, unseen: int) -> dict[str, Any]:
    """Score unseen rendered portraits, in crops that are off by a little."""
    data = open_landmarks(spec, "val", model.size, 68)
    found, truths = [], []
    for index in range(min(unseen, len(data))):
        sample = data.sample(index, np.random.default_rng([1, index]))
        found.append(model.predict(sample.image))
        truths.append(sample.points)
    return scores_of(found, truths)


# Face++ templates with 106 and 83 points → 68; lines are divided anew as in `data.london`.
_BASE_106: Final = ((77, 78), (78, 79), (80, 80), (81, 82), (82, 83))
_JAW_83: Final = (24, 23, 22, 21, 20, 19, 18, 53, 13, 6, 60, 65, 31, 76, 36, 30, 27, 28, 73)
_BASE_83: Final = ((54, 78), (78, 37), (37, 37), (77, 37), (33, 77))


def points_of_template(xy: Points) -> Points:
    """Return 68 points for the 106 or 83 of the `lisa_zoom_cc0` templates."""

    def eye(upper: list[int], lower: list[int]) -> list[Points]:
        above, below = (divided(xy[line], np.linspace(0, 1, 4)) for line in (upper, lower))
        return [above, below[2:0:-1]]

    if len(xy) == 106:
        return np.vstack(
            [
                xy[2:35:2], xy[53:58], xy[63:68], xy[71:75],
                [xy[list(pair)].mean(0) for pair in _BASE_106],
                *eye([35, 36, 37, 38, 39], [35, 42, 41, 40, 39]),
                *eye([44, 45, 46, 47, 48], [44, 51, 50, 49, 48]),
                xy[86:93], xy[105:100:-1], xy[93:98], xy[[100, 99, 98]],
            ]
        )  # fmt: skip
    bridge = np.linspace(xy[[70, 59]].mean(0), xy[35], 4)
    corners = xy[[29, 52]].mean(0), xy[[45, 46]].mean(0)
    return np.vstack(
        [
            divided(xy[list(_JAW_83)], np.linspace(0, 1, 17)),
            xy[[32, 62, 68, 80, 48]], xy[[16, 64, 15, 69, 66]], bridge,
            [xy[list(pair)].mean(0) for pair in _BASE_83],
            *eye([44, 4, 56, 51, 79], [44, 25, 11, 58, 79]),
            *eye([61, 67, 38, 34, 40], [61, 47, 17, 41, 40]),
            xy[[29, 0, 3, 26, 72, 42, 45, 75, 2, 12, 39, 10]],
            corners[0], xy[[52, 82, 46]], corners[1], xy[[46, 14, 52]],
        ]
    )  # fmt: skip


def score_lisa(model: Landmarks, folder: Path) -> dict[str, Any]:
    """Score the photos of one person, from the face that the parser finds."""
    found, truths = [], []
    parser = load_parser()
    for path in sorted(folder.rglob("*.tem")):
        photo = read_rgb(path.with_suffix(".jpg"))
        faces = find_faces(photo, parser)
        if faces:
            found.append(landmarks(photo, faces[0], model).xy)
            truths.append(points_of_template(np.array(read_tem(path))))
    return scores_of(found, truths)


def consistency(model: Landmarks, photos: list[Path]) -> dict[str, Any]:
    """Return how far answers for one face differ between two boxes, the second one mirrored.

    No truth is needed, and none is measured: a model may be wrong in the same way twice.
    """
    parser = load_parser()
    rng = np.random.default_rng(0)
    apart, faces = [], 0
    for path in photos:
        photo = read_rgb(path)
        for face in find_faces(photo, parser)[:1]:
            first = landmarks(photo, face, model).xy
            moved = replace(face, quad=face.quad + rng.normal(0, 0.04, 2) * face.side)
            width = photo.shape[1]
            quad = moved.quad.copy()
            quad[:, 0] = width - quad[:, 0]
            other = replace(face, quad=quad[[3, 2, 1, 0]])
            second = landmarks(np.ascontiguousarray(photo[:, ::-1]), other, model).xy
            back = second[mirror_order(68)] * [-1, 1] + [width, 0]
            apart.append(float(point_errors(back[None], first[None], norms(first[None]))[0]))
            faces += 1
    return {"faces": faces, "apart": float(np.mean(apart)) if apart else None}


def jitter(model: Landmarks, spec: str, sequences: int) -> dict[str, float]:
    """Return trembling in pixels of rendered portraits, plain and after One-Euro.

    A portrait rests, then drifts, turns and nears, in 90 frames of 192² at 30 a second, each with
    noise of its own and a box that is off by a few percent. Trembling is the mean change of a
    point's error from frame to frame; errors are mean distances; both in pixels of the frame.
    """
    data = open_landmarks(spec, "val", 256, 68)
    rest = _FRAMES // 3
    totals: dict[str, list[float]] = defaultdict(list)
    for index in range(min(sequences, len(data))):
        rng = np.random.default_rng([2, index])
        sample = data.sample(index, rng)
        # A face keeps its material and light; only the sensor's noise is new in every frame.
        look = photograph(FaceSample(sample.image, np.zeros((256, 256), np.uint8), ""), rng).image
        drift, turn, near = rng.normal(0, 12, 2), rng.normal(0, 10), rng.normal(0, 0.06)
        smooth = OneEuro(minimum=1.0, slope=0.2)
        errors: dict[str, list[Points]] = {"plain": [], "smoothed": []}
        for frame in range(_FRAMES):
            done = max(0.0, (frame - rest) / (_FRAMES - rest))
            phase = np.sin(2 * np.pi * done) * np.sin(np.pi * done)
            matrix = cv2.getRotationMatrix2D((128, 128), turn * phase, 0.62 * np.exp(near * phase))
            matrix[:, 2] += drift * phase - 32
            image = cv2.warpAffine(look, matrix, (192, 192), borderMode=cv2.BORDER_REFLECT)
            noisy = np.rint((image + rng.normal(0, 4, image.shape)).clip(0, 255)).astype(np.uint8)
            truth = (sample.points - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
            found = seen_in_photo(model, noisy, truth, rng)
            errors["plain"].append(found - truth)
            errors["smoothed"].append(smooth(found, frame / 30) - truth)
        for name, listed in errors.items():
            each = np.stack(listed)
            change = np.linalg.norm(np.diff(each, axis=0), axis=2)
            totals[f"{name}_resting"].append(float(change[rest // 4 : rest - 1].mean()))
            totals[f"{name}_moving"].append(float(change[rest:].mean()))
            totals[f"{name}_error"].append(float(np.linalg.norm(each[rest:], axis=2).mean()))
    return {name: float(np.mean(values)) for name, values in totals.items()}


def evaluate_all(model: Landmarks, data: Path, world: str, plan: Plan) -> dict[str, Any]:
    """Measure on everything that is there and was not trained on."""
    scores: dict[str, Any] = {"world": score_world(model, world, plan.unseen)}
    if (data / "london_faces").is_dir():
        scores["london"] = score_london(model, data)
    if (data / "lisa_zoom_cc0").is_dir():
        scores["lisa"] = score_lisa(model, data / "lisa_zoom_cc0")
    scores["apart"] = {
        name: consistency(model, spread(data / name, plan.photos))
        for name in ("faker_portraits", "congress_gray")
        if (data / name).is_dir()
    }
    scores["jitter"] = jitter(model, world, plan.sequences)
    return scores


def spread(folder: Path, count: int) -> list[Path]:
    """Return at most `count` photos from all over a folder."""
    photos = sorted(folder.rglob("*.jpg"))
    return photos[:: len(photos) // count + 1]


def sheet(model: Landmarks, data: Path) -> NDArray[np.uint8]:
    """Return photos that were not trained on, with the points as lines."""
    import skimage.data

    parser = load_parser()
    astronaut = skimage.data.astronaut()  # type: ignore[no-untyped-call]  # has no types
    photos = [
        path
        for name, count in (("faker_portraits", 12), ("congress_gray", 7), ("lisa_zoom_cc0", 4))
        for path in spread(data / name, count)
    ]
    tiles = [
        overlay(photo, landmarks(photo, face, model, flip=True).xy)
        for photo in [astronaut, *map(read_rgb, photos)]
        for face in find_faces(photo, parser)[:1]
    ]
    tiles += [np.zeros((256, 256, 3), np.uint8)] * (-len(tiles) % 6)
    rows = [np.hstack(tiles[i : i + 6]) for i in range(0, len(tiles), 6)]
    return np.vstack(rows or [np.zeros((256, 1536, 3), np.uint8)])


def overlay(photo: NDArray[np.uint8], points: Points, side: int = 256) -> NDArray[np.uint8]:
    """Return the face upright in a square with its points as lines."""
    matrix = crop_to_picture(crop_of(points, roll_of(points)), side)
    tile = np.rint(cut(photo, matrix, side)).astype(np.uint8)
    back = invert(matrix)
    placed = np.rint(16 * (points @ back[:, :2].T + back[:, 2] - 0.5)).astype(np.int32)
    for line in LINES:
        cv2.polylines(tile, [placed[list(line)]], False, (60, 255, 120), 1, cv2.LINE_AA, 4)
    return tile


# The card


def table(scores: dict[str, Any]) -> str:
    """Return the scores as Markdown."""
    names = {
        "london": "London, held-out people",
        "lisa": "one person, 8 photos",
        "world": "unseen rendered portraits",
    }
    kept = {key: names[key] for key in names if key in scores}
    lines = ["| | " + " | ".join(kept.values()) + " |", "|---|" + "---|" * len(kept)]
    rows = {
        "**NME, inter-ocular**": "nme", "NME, inter-pupil": "nme_pupil", "NME, box": "nme_box",
        "failures above 8 %": "failures_8", "AUC to 8 %": "auc_8",
    }  # fmt: skip
    lines.append("| faces | " + " | ".join(str(scores[key]["faces"]) for key in kept) + " |")
    for title, key in rows.items():
        form = "{:.3f}" if key == "auc_8" else "{:.2%}"
        values = (form.format(scores[name][key]) for name in kept)
        lines.append(f"| {title} | " + " | ".join(values) + " |")
    for group in GROUPS[68]:
        values = (f"{scores[name]['groups'][group]:.2%}" for name in kept)
        lines.append(f"| NME, {group} | " + " | ".join(values) + " |")
    if "london" in scores:
        lines += ["", "| held-out London people | faces | NME |", "|---|---|---|"]
        people = scores["london"]["people"].items()
        lines += [f"| {fact} | {count} | {error:.2%} |" for fact, (count, error) in people]
    lines += [
        "",
        "| two boxes of one photo, the second mirrored | faces | apart |",
        "|---|---|---|",
    ]
    for name, found in scores["apart"].items():
        apart = "–" if found["apart"] is None else f"{found['apart']:.2%}"
        lines.append(f"| {name} | {found['faces']} | {apart} |")
    lines += ["", "| pixels of 192 | trembling at rest | moving | error, moving |"]
    lines += ["|---|---|---|---|"]
    for name in ("plain", "smoothed"):
        kinds = ("resting", "moving", "error")
        values = (f"{scores['jitter'][f'{name}_{what}']:.2f}" for what in kinds)
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def card(scores: dict[str, Any], facts: dict[str, Any]) -> str:
    """Return the card of the trained model."""
    text = (Path(__file__).parent / "landmarks_card.md").read_text()
    for name, value in {**facts, "scores": table(scores)}.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def offsets(model: Landmarks, data: Path) -> Points:
    """Return, in thousandths, where London marks lie from what a model expects: (68, 2).

    To the right in distances of the outer eye corners, down in 1.29 distances of eyes and mouth;
    the mean over the training people and both sides of the face.
    """
    train = one_side(
        [Marked(who, read) for who, read in london_landmarks(data / "london_faces")],
        "train",
        "london",
    )
    shares = []
    for face in train:
        image, sets = face.read()
        truth = sets[68]
        found = landmarks_in_box(image, box_around(truth), model, flip=True).xy
        across = truth[45] - truth[36]
        down = 1.29 * np.linalg.norm(truth[[48, 54]].mean(0) - truth[36:48].mean(0))
        upright = np.array([-across[1], across[0]]) / np.linalg.norm(across)
        axes = np.stack([across, upright * down])
        shares.append((truth - found) @ np.linalg.inv(axes))
    mean = np.mean(shares, axis=0)
    return np.asarray(np.rint(500 * (mean + mean[mirror_order(68)] * [-1, 1])), int)


@click.group()
def cli() -> None:
    """Train and measure the bundled landmarks."""


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run and sheet.")
@click.option("--world", help="Rendered portraits of your own, as a data specification.")
@click.option("--weights", type=click.Path(path_type=Path), help="Model folder to write.")
@click.option("--seed", default=0, show_default=True)
@click.option("--smoke", "short", is_flag=True, help="Seconds instead of minutes, for the tests.")
def train(
    data: Path, out: Path, world: str | None, weights: Path | None, seed: int, short: bool
) -> None:
    """Train, or continue, and write model, scores, sheet and card."""
    plan = smoke() if short else full()
    drawn = world or f"world:count={plan.world}"
    spec = drawn
    if (data / "london_faces").is_dir():
        spec += f",8*london:{data / 'london_faces'}"
    out.mkdir(parents=True, exist_ok=True)
    model, seconds = train_model(spec, plan, out, seed)
    scores = evaluate_all(model, data, drawn, plan)
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    Image.fromarray(sheet(model, data)).save(out / "sheet.png")
    facts = {
        "seed": seed,
        "steps": model.steps,
        "batch": model.batch_size,
        "world": len(open_landmarks(drawn, "train", 32, 68)),
        "minutes": round(seconds / 60),
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)",
        "parameters": f"{sum(p.numel() for p in model.networks.parameters()):,}",
    }
    models.save(model, weights or out / "model", card(scores, facts), half=True)
    click.echo(table(scores))


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--world", help="Rendered portraits of your own, as a data specification.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write them here.")
def evaluate(model: Path, data: Path, world: str | None, path: Path | None) -> None:
    """Print the scores of MODEL on everything that it was not trained on."""
    plan = full()
    scores = evaluate_all(models.load(model), data, world or f"world:count={plan.world}", plan)
    click.echo(table(scores))
    if path is not None:
        path.write_text(json.dumps(scores, indent=2) + "\n")


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
def conventions(model: Path, data: Path) -> None:
    """Print where London marks lie from what MODEL, trained on the world alone, expects."""
    for number, (right, down) in enumerate(offsets(models.load(model), data)):
        click.echo(f"{number:2d}  {right:4d} {down:4d}")


if __name__ == "__main__":
    cli()
