"""The bundled face parser, from data to card.

    python recipes/parser.py train --data DATA --out runs/parser --weights parser
    python recipes/parser.py evaluate parser --data DATA

DATA is the folder that holds `london_faces` and, where there, `faker_portraits` and `congress_gray`
(unlabelled) and `eval_only/helen_mgpe` and `nprportrait_seg` (never trained on). Stages:

1. `teacher`: rendered portraits and the London people of the training side, small crops;
2. the teacher finds the faces of the unlabelled pictures and labels what it is sure of;
3. `student`: from the teacher's weights, with those faces in the mixture, larger crops;
4. `larger`: the same at full size;
5. `long`: most of the steps, with more renderings and the faces labelled anew by then;
6. scores, a sheet to look at, the card and the model.

Every stage leaves its result under `--out`; the same command continues where it was stopped.
`--share 0.1` tries the whole with a tenth of portraits, pictures and steps.
"""

import json
import platform
import time
from collections.abc import Iterator
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
from pentimento.data.faces import FaceSample, open_faces, read_rgb, split_of
from pentimento.engine import storage
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.labels import CELEBAMASK19, HELEN11, IGNORE, LabelSet
from pentimento.metrics.segmentation import Confusion
from pentimento.ops.align import crop_to_picture
from pentimento.ops.warp import cut
from pentimento.session.faces import find_faces
from pentimento.structures import LabelMap
from pentimento.systems.perceive.face_parsing import (
    Config,
    FaceParsing,
    compact,
    open_data,
    tiny,
)

ABOUT: Final = "face parser, weights/face_parsing: two to three hours on one core"
# Parts of a few pixels weigh more; skin, hair and background would drown them.
_CLASS_WEIGHTS: Final = tuple(
    {"nose": 1.5, "eye_g": 1.5, "ear_r": 4.0, "neck_l": 5.0}.get(
        name, 1.0 if name in ("background", "skin", "hair", "hat", "neck", "cloth") else 2.0
    )
    for name in CELEBAMASK19.classes
)
_CERTAIN: Final = 0.75
_SOBER: Final = 0.5
_PHOTOS: Final = 256  # px, of unlabelled faces as they are kept
_LONDON_PARTS: Final = (
    "skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "u_lip", "l_lip",
    "neck",
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """One run of the trainer; it begins with the weights of the one before.

    Attributes:
        name: of its folder under `--out`.
        size: of the crops.
        steps: of `batch_size` faces.
        rate: learning rate.
        rendered: share of the rendered portraits that an epoch draws.
        average: decay of the moving averages.
        labels_photos: whether the parser so far labels the unlabelled faces (anew) before it.
    """

    name: str
    size: int
    steps: int
    rate: float
    rendered: float = 0.6
    average: float = 0.99
    labels_photos: bool = False


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        config: the network; size, steps and learning rate are each stage's own.
        stages: in their order.
        world: rendered portraits to train on.
        unlabelled: share of the unlabelled pictures that is used.
        unseen: rendered portraits of the evaluation.
        precision: of the forward passes.
        workers: processes that prepare data.
    """

    config: Config
    stages: tuple[Stage, ...]
    world: int
    unlabelled: float
    unseen: int
    precision: str = "bf16"
    workers: int = 1


def full() -> Plan:
    """Return the plan of the bundled weights."""
    config = replace(compact(), dice=1.0, class_weights=_CLASS_WEIGHTS, batch_size=8)
    stages = (
        Stage("teacher", 128, 2500, 1.4e-3),
        Stage("student", 192, 500, 1e-3, labels_photos=True),
        Stage("larger", 224, 440, 1e-3),
        Stage("long", 224, 6300, 1.5e-3, rendered=0.9, average=0.998, labels_photos=True),
    )
    return Plan(config, stages, 3200, 1.0, 500)


def smoke() -> Plan:
    """Return a plan of seconds, for the tests."""
    stages = (
        Stage("teacher", 64, 2, 5e-3),
        Stage("student", 64, 2, 5e-3, labels_photos=True),
        Stage("long", 64, 2, 5e-3, labels_photos=True),
    )
    return Plan(tiny(), stages, 8, 0.5, 2, "32", 0)


def shortened(plan: Plan, share: float) -> Plan:
    """Return the plan with so large a share of its portraits, pictures and steps."""

    def fewer(count: int) -> int:
        return max(1, round(share * count))

    stages = tuple(replace(stage, steps=fewer(stage.steps)) for stage in plan.stages)
    return replace(plan, stages=stages, world=fewer(plan.world), unlabelled=share * plan.unlabelled)


# Stages


def train_stage(
    stage: Stage, spec: str, plan: Plan, out: Path, start: FaceParsing | None, seed: int
) -> FaceParsing:
    """Train one stage, or continue it, or return it where it is done."""
    run = out / stage.name
    if not (run / "done").exists():
        torch.manual_seed(seed)
        config = replace(plan.config, size=stage.size, steps=stage.steps, lr=stage.rate)
        system = FaceParsing(config)
        if start is not None:
            system.networks.load_state_dict(start.networks.state_dict())
        # A fifth less time a step in bf16; gradients are the same to its precision.
        system.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        settings = Settings(
            steps=stage.steps,
            batch_size=config.batch_size,
            seed=seed,
            save_every=200,
            validate_every=0,
            validate_samples=100,
            sheet_every=0,
            precision=plan.precision,  # type: ignore[arg-type]  # pydantic checks the literal
            workers=plan.workers,
            clip=5.0,
            average_decay=stage.average,
        )
        began = time.time()
        outcome = fit(
            system,
            run,
            open_data(spec, "train", config),
            open_data(spec, "val", config),
            settings,
            about={"data": spec, "recipe": "parser", "stage": stage.name},
            resume=(run / "checkpoints").exists(),
        )
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        (run / "done").write_text(json.dumps({"seconds": time.time() - began}))
    trained: FaceParsing = models.load(run)
    return trained


def sobered(parser: FaceParsing) -> FaceParsing:
    """Take half of what the class weights added to the logits back from the last layer's bias.

    Weights make a network find small parts, and at the end find too many: of the pixels called
    earring half were none. A weight w moves the decision as log(w) on its logit does.
    """
    head: Any = parser.networks["parser"].head
    weights = torch.tensor(parser.config.class_weights or [1.0] * len(CELEBAMASK19))
    with torch.no_grad():  # four answers per class, see `Compact`
        head.bias -= _SOBER * weights.log().repeat_interleave(len(head.bias) // len(weights))
    return parser


def unlabelled(data: Path) -> list[Path]:
    """Return the pictures that may be learnt from without labels; London by the split of people."""
    folders = [data / "faker_portraits", data / "congress_gray", data / "london_faces" / "smiling"]
    photos = [photo for folder in folders for photo in sorted(folder.rglob("*.jpg"))]
    return [
        photo
        for photo in photos
        if photo.parent.name != "smiling"
        or split_of(f"neutral-{photo.stem.split('_')[0]}") == "train"
    ]


def find_all(teacher: FaceParsing, data: Path, out: Path, share: float) -> dict[str, Any]:
    """Return picture → corners of its largest face's square; kept in `out` picture by picture."""
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    for photo in unlabelled(data)[:: round(1 / share)]:
        name = str(photo.relative_to(data))
        if name not in found:
            faces = find_faces(read_rgb(photo), teacher)
            found[name] = faces[0].quad.tolist() if faces else None
            storage.replace(out, json.dumps(found).encode())
    return {name: quad for name, quad in found.items() if quad is not None}


def label_all(parser: FaceParsing, data: Path, found: dict[str, Any], out: Path, size: int) -> int:
    """Write `images/` and `labels/` pairs of the faces that were found; return how many.

    A pixel gets a label where the mean answer of all views (test-time augmentation) is certain.
    """
    for name in ("images", "labels"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for name, quad in found.items():
        stem = "-".join(Path(name).with_suffix("").parts)
        if (out / "labels" / f"{stem}.png").exists():
            continue
        crop = cut(read_rgb(data / name), crop_to_picture(np.array(quad), size), size)
        image = np.rint(crop.clip(0, 255)).astype(np.uint8)
        shares = parser.probabilities(image, tta=True)
        labels = np.where(shares.max(0) > _CERTAIN, shares.argmax(0), IGNORE).astype(np.uint8)
        labels = without_habits(image, labels, shares)
        Image.fromarray(image).save(out / "images" / f"{stem}.png")
        Image.fromarray(labels).save(out / "labels" / f"{stem}.png")
    return len(found)


def without_habits(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], shares: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return the labels without what the parser mistakes again and again: it must not learn that.

    Highlights taken for hats, dark coats for background and wrinkles for glasses become unknown;
    teeth, shared out between the lips, become `mouth` by their colour.
    """
    size = len(labels)
    hat, glasses, mouth, upper, lower = CELEBAMASK19.values(
        "hat", "eye_g", "mouth", "u_lip", "l_lip"
    )
    labels = labels.copy()
    labels[labels == hat] = IGNORE
    labels[size * 3 // 4 :][labels[size * 3 // 4 :] == 0] = IGNORE
    if (labels == glasses).mean() < 0.02:  # a pair of them covers four hundredths of the crop
        labels[(labels == glasses) | (shares[glasses] > 0.2)] = IGNORE

    best = shares.argmax(0)
    lips = (best == upper) | (best == lower)
    if lips.any():
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        light, red = lab[..., 0], lab[..., 1]
        teeth = (lips | (best == mouth)) & (light > np.median(light[lips]) + 10)
        teeth &= red <= np.median(red[lips])
        edge = np.ones((3, 3), np.uint8)
        above, below = (
            cv2.dilate((best == lip).astype(np.uint8), edge, iterations=2) > 0
            for lip in (upper, lower)
        )
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(teeth.astype(np.uint8))
        number = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()) if len(stats) > 1 else 0
        row = numbers == number
        wide = stats[number, cv2.CC_STAT_WIDTH] > 2 * stats[number, cv2.CC_STAT_HEIGHT]
        # A highlight on a lip is small, round, or off the line where the lips meet.
        if number and wide and row.sum() > 0.1 * lips.sum() and (row & above & below).any():
            blob = cv2.morphologyEx(row.astype(np.uint8), cv2.MORPH_CLOSE, edge, iterations=2)
            ring = cv2.dilate(blob, edge) > 0
            labels[ring & (lips | (best == mouth))] = IGNORE
            labels[blob > 0] = mouth
    return labels


# Evaluation


def faces_of(spec: str, size: int, splits: tuple[str, ...] = ("val",)) -> Iterator[FaceSample]:
    """Yield every face of the given splits."""
    rng = np.random.default_rng(0)
    for split in splits:
        data = open_faces(spec, "val" if split == "val" else "train", size)
        for index in range(len(data)):
            yield data.sample(index, rng)


def score(parser: FaceParsing, faces: Iterator[FaceSample], labels: LabelSet) -> dict[str, Any]:
    """Return IoU per class of `labels`, pooled over faces that are cut at their own size."""
    confusion = Confusion(labels)
    count = 0
    for face in faces:
        predicted, truth = parser.predict(face.image, tta=True), LabelMap(face.labels)
        if labels is not CELEBAMASK19:
            predicted, truth = predicted.remap(labels), truth.remap(labels)
        confusion.add(truth.values, predicted.values)
        count += 1
    return {
        "faces": count,
        "mean_iou": confusion.mean_iou(),
        "pixel_accuracy": confusion.pixel_accuracy(),
        "iou": confusion.iou(),
    }


def evaluate_all(parser: FaceParsing, data: Path, unseen: int) -> dict[str, Any]:
    """Measure on everything that is there and was not trained on."""
    scores = {"world": score(parser, faces_of(f"world:count={10 * unseen}", 256), CELEBAMASK19)}
    if (data / "london_faces").is_dir():
        london = score(parser, faces_of(f"london:{data / 'london_faces'}", 256), CELEBAMASK19)
        london["mean_iou_parts"] = float(np.mean([london["iou"][n] for n in _LONDON_PARTS]))
        scores["london"] = london
    helen = data / "eval_only" / "helen_mgpe"
    if helen.is_dir():
        both = ("train", "val")
        folders = [helen / "helen_edit2", helen / "helen_align"]
        faces = (f for folder in folders for f in faces_of(str(folder), 256, both))
        scores["helen"] = score(parser, faces, HELEN11)
    if (data / "nprportrait_seg").is_dir():
        npr = faces_of(f"npr:{data / 'nprportrait_seg'}", 256)
        scores["npr"] = score(parser, npr, CELEBAMASK19)
    return scores


def sheet(parser: FaceParsing, data: Path) -> NDArray[np.uint8]:
    """Return a sheet of unlabelled photos, aligned, each beside what the parser sees in it."""
    import skimage.data

    palette = np.array(CELEBAMASK19.colours, np.uint8)
    photos = unlabelled(data)
    astronaut = skimage.data.astronaut()  # type: ignore[no-untyped-call]  # has no types
    pictures = [astronaut, *map(read_rgb, photos[:: len(photos) // 23 + 1])]
    tiles = []
    for rgb in pictures:
        for face in find_faces(rgb, parser)[:1]:
            crop = cut(rgb, crop_to_picture(face.quad, 160), 160).clip(0, 255)
            labels = parser.predict(np.rint(crop).astype(np.uint8), tta=True).values
            tiles.append(np.hstack([crop, 0.4 * crop + 0.6 * palette[labels]]))
    tiles += [np.zeros((160, 320, 3))] * (-len(tiles) % 4)
    rows = [np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)]
    return np.vstack(rows or [np.zeros((160, 320, 3))]).astype(np.uint8)


# The card


def table(scores: dict[str, Any]) -> str:
    """Return the scores as Markdown."""
    names = {
        "world": "unseen rendered portraits",
        "london": "London, held-out people",
        "helen": "HELEN pairs",
        "npr": "NPRportrait",
    }
    kept = {key: names[key] for key in names if key in scores}
    lines = ["| | " + " | ".join(kept.values()) + " |", "|---|" + "---|" * len(kept)]

    def line(name: str, values: list[float | int | None]) -> None:
        shown = ["–" if v is None else str(v) if isinstance(v, int) else f"{v:.3f}" for v in values]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")

    line("faces", [scores[key]["faces"] for key in kept])
    line("**mean IoU**", [scores[key]["mean_iou"] for key in kept])
    line("pixel accuracy", [scores[key]["pixel_accuracy"] for key in kept])
    for name in CELEBAMASK19.classes:
        line(name, [scores[key]["iou"].get(name) for key in kept])
    return "\n".join(lines)


def card(scores: dict[str, Any], facts: dict[str, Any]) -> str:
    """Return the card of the trained parser."""
    text = (Path(__file__).parent / "parser_card.md").read_text()
    for name, value in {**facts, "scores": table(scores)}.items():
        text = text.replace("{" + name + "}", str(value))
    return text


@click.group()
def cli() -> None:
    """Train and measure the bundled face parser."""


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Runs and sheets.")
@click.option("--world", help="Rendered portraits of your own, as a data specification.")
@click.option("--weights", type=click.Path(path_type=Path), help="Model folder to write.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Of portraits, pictures and steps: a shorter run, to try the whole.",
)
@click.option("--smoke", "short", is_flag=True, help="Seconds instead of hours, for the tests.")
def train(
    data: Path,
    out: Path,
    world: str | None,
    weights: Path | None,
    seed: int,
    share: float,
    short: bool,
) -> None:
    """Run all stages, or continue them, and write model, scores, sheet and card."""
    plan = shortened(smoke() if short else full(), share)
    london = data / "london_faces"
    out.mkdir(parents=True, exist_ok=True)

    parser: FaceParsing | None = None
    found: dict[str, Any] = {}
    photos: list[str] = []
    for number, stage in enumerate(plan.stages):
        if parser is not None and stage.labels_photos:
            found = found or find_all(parser, data, out / "faces.json", plan.unlabelled)
            folder = out / f"photos-{stage.name}"
            label_all(parser, data, found, folder, _PHOTOS)
            photos = [str(folder)] if len(found) > 1 else []
        sources = [world or f"{stage.rendered}*world:count={plan.world}"]
        sources += [f"4*london:{london}"] if london.is_dir() else []
        spec = ",".join(sources + photos)
        parser = train_stage(stage, spec, plan, out, parser, seed + number)
    assert parser is not None
    parser = sobered(parser)

    scores = evaluate_all(parser, data, plan.unseen)
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    Image.fromarray(sheet(parser, data)).save(out / "sheet.png")
    done = [json.loads((out / stage.name / "done").read_text()) for stage in plan.stages]
    facts = {
        "seed": seed,
        "steps": " + ".join(str(stage.steps) for stage in plan.stages),
        "sizes": ", ".join(str(stage.size) for stage in plan.stages),
        "batch": plan.config.batch_size,
        "pseudo": len(found),
        "world": plan.world,
        "minutes": round(sum(stage["seconds"] for stage in done) / 60),
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)",
        "parameters": f"{sum(p.numel() for p in parser.networks.parameters()):,}",
    }
    models.save(parser, weights or out / "model", card(scores, facts), half=True)
    click.echo(table(scores))


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--unseen", default=500, show_default=True, help="Rendered portraits.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write them here.")
def evaluate(model: Path, data: Path, unseen: int, path: Path | None) -> None:
    """Print the scores of MODEL on everything that it was not trained on."""
    scores = evaluate_all(models.load(model), data, unseen)
    click.echo(table(scores))
    if path is not None:
        path.write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    cli()
