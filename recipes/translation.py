"""Translation tasks that need no download, from pictures to scores.

    python recipes/translation.py labels2portrait --world DIR --out runs/translation
    python recipes/translation.py all --world DIR --data DATA --out runs/translation

| TASK | system | what |
|---|---|---|
| `labels2portrait` | pix2pix | label maps of rendered portraits → the portraits |
| `portrait2labels` | pix2pix | the way back |
| `edges2portrait` | pix2pix | outlines of rendered portraits → the portraits |
| `neutral2smiling` | pix2pix | neutral → smiling photos of the London set, split by person |
| `grey2colour` | CycleGAN | grey photos of Congress → colours of AI-made portraits, unpaired |
| `world2photo` | CycleGAN | rendered portraits → AI-made portraits, unpaired |

DIR is a folder of `pentimento world portraits --size 256` and may be given several times; DATA
holds `london_faces`, `congress_gray` and `faker_portraits`. Pictures are cut and shrunk once, the
network is trained by the `pentimento train` that is printed, and what it paints from held-out
pictures is scored beside doing nothing. The same command continues where it was stopped. Runs are
short: `--steps` makes them longer, and better. No weights of these runs ship.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pentimento import catalog, models
from pentimento.data.faces import read_rgb, read_values, resize_image, resize_labels
from pentimento.labels import CELEBAMASK19
from pentimento.metrics.distribution import SlicedWasserstein
from pentimento.metrics.images import psnr, ssim
from pentimento.metrics.segmentation import Confusion
from pentimento.ops.planes import pixels_of, planes, with_channels
from pentimento.session.models import load_parser

ABOUT: Final = "translation tasks for docs/translation.md, no weights: minutes each on one core"
_SIZE: Final = 128
_LOAD: Final = 143
_HELD_OUT: Final = 40
_HOW: Final = (
    "--preset", "compact", "--precision", "bf16", "--workers", "0", "--save-every", "100",
    "--validate-every", "500", "--validate-samples", "40",
)  # fmt: skip
_PALETTE: Final = np.array([*CELEBAMASK19.colours, *[(0, 0, 0)] * 237], np.uint8)

Image8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """One translation.

    Attributes:
        system: name in the catalogue.
        spec: of the data, below the folder of prepared pictures.
        values: fields of Config that differ from `compact`.
        steps: length of the run.
        score: (system, data of the validation split) → name → (doing nothing, painted).
        shown: whether its pictures may be published; photos of people are not.
    """

    system: str
    spec: str
    values: tuple[str, ...]
    steps: int
    score: Callable[[Any, Any], dict[str, tuple[float | None, float]]]
    shown: bool = True


# --- pictures -------------------------------------------------------------------------------------


def shrink(worlds: tuple[Path, ...], out: Path) -> None:
    """Keep rendered portraits and labels at the size of training."""
    kinds: tuple[tuple[str, Any, Any], ...] = (
        ("images", read_rgb, resize_image),
        ("labels", read_values, resize_labels),
    )
    for name, read, resize in kinds:
        for world in worlds:
            for path in sorted((world / name).glob("*.png")):
                _keep(out / name / f"{world.name}-{path.name}", resize(read(path), _LOAD))


def cut_photos(photos: list[Path], out: Path, frame: tuple[float, float, float]) -> None:
    """Keep a square of each photo: (x, y) of its middle and its side, in shares of the width."""
    for path in photos:
        rgb = read_rgb(path)
        x, y, side = (share * rgb.shape[1] for share in frame)
        top, left = max(0, round(y - side / 2)), max(0, round(x - side / 2))
        square = rgb[top : top + round(side), left : left + round(side)]
        # Partners of London share what stands before "_"; women and men of faker share numbers.
        london = path.parent.name in ("neutral", "smiling")
        name = path.stem.partition("_")[0] if london else f"{path.parent.name}-{path.stem}"
        _keep(out / f"{name}.png", resize_image(np.ascontiguousarray(square), _LOAD))


def _keep(path: Path, pixels: Image8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def prepare(worlds: tuple[Path, ...], data: Path | None, out: Path) -> None:
    """Make whatever pictures can be made and are not there yet."""
    if worlds and not (out / "portraits").exists():
        shrink(worlds, out / "portraits.part")
        (out / "portraits.part").rename(out / "portraits")
    if data is None:
        return
    london = data / "london_faces"
    for folder, photos, frame in (
        ("smiles/A", sorted((london / "neutral").glob("*.jpg")), (0.5, 0.42, 0.62)),
        ("smiles/B", sorted((london / "smiling").glob("*.jpg")), (0.5, 0.42, 0.62)),
        ("congress", sorted((data / "congress_gray").glob("*.jpg")), (0.5, 0.5, 1.0)),
        ("faker", sorted((data / "faker_portraits").rglob("*.jpg")), (0.5, 0.42, 0.66)),
    ):
        if photos and not (out / folder).exists():
            cut_photos(photos, out / f"{folder}.part", frame)
            (out / f"{folder}.part").rename(out / folder)


# --- scores ---------------------------------------------------------------------------------------


def held_out(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (a, b) of the validation split."""
    for index in range(min(_HELD_OUT, len(data))):
        sample = data.sample(index, np.random.default_rng(0))
        yield sample.a, sample.b


def painted(system: Any, pixels: Any) -> Image8:
    """Translate one picture or label map."""
    seen = torch.from_numpy(planes(pixels, system.channels()))[None]
    return np.asarray(pixels_of(system.predict(seen)[0].numpy(), np.uint8))


Scores = dict[str, tuple[float | None, float]]


def likeness(system: Any, data: Any) -> Scores:
    """Compare with the truth; doing nothing is the condition itself, if it is a picture."""
    found: dict[str, list[float]] = {"SSIM": [], "PSNR, dB": []}
    idle: dict[str, list[float]] = {"SSIM": [], "PSNR, dB": []}
    for a, b in held_out(data):
        pictures = [(found, painted(system, a))]
        if a.ndim == 3:
            pictures.append((idle, with_channels(a, 3)))
        for scores, picture in pictures:
            scores["SSIM"].append(ssim(b, picture))
            scores["PSNR, dB"].append(psnr(b, picture))
    return {
        k: (float(np.mean(idle[k])) if idle[k] else None, float(np.mean(found[k]))) for k in found
    }


def seen_by_the_parser(system: Any, data: Any) -> Scores:
    """Add how far the bundled parser sees in the painted portraits what the label maps say."""
    parser, real, fake = load_parser(), Confusion(CELEBAMASK19), Confusion(CELEBAMASK19)
    for labels, portrait in held_out(data):
        fake.add(labels, parser.predict(painted(system, labels)).values)
        real.add(labels, parser.predict(portrait).values)
    scores = likeness(system, data)
    scores["mIoU by the parser"] = (None, fake.mean_iou())
    scores["the same of the true portraits"] = (None, real.mean_iou())
    return scores


def agreement(system: Any, data: Any) -> Scores:
    """Compare painted label maps with the true ones."""
    confusion = Confusion(CELEBAMASK19)
    for labels, portrait in held_out(data):
        confusion.add(labels, painted(system, portrait))
    return {
        "mIoU, 19 classes": (None, confusion.mean_iou()),
        "pixel accuracy": (None, confusion.pixel_accuracy()),
    }


def colours(system: Any, data: Any) -> Scores:
    """Take the colours from held-out colour portraits and let them be painted back."""
    found: dict[str, list[float]] = {"PSNR, dB": [], "distance": []}
    idle: dict[str, list[float]] = {"PSNR, dB": [], "distance": []}
    for scores, paint in ((found, painted), (idle, lambda _, grey: with_channels(grey, 3))):
        distance = SlicedWasserstein()
        for _, b in held_out(data):
            picture = paint(system, with_channels(b, 1))
            scores["PSNR, dB"].append(psnr(b, picture))
            distance.add(b / 255, picture / 255)
        scores["distance"] = [distance.value()]
    return {k: (float(np.mean(idle[k])), float(np.mean(found[k]))) for k in found}


def distance(system: Any, data: Any) -> Scores:
    """Measure how far painted pictures are from the photos, and how far their sources are."""
    before, after = SlicedWasserstein(), SlicedWasserstein()
    for a, b in held_out(data):
        before.add(b / 255, a / 255)
        after.add(b / 255, painted(system, a) / 255)
    return {"distance": (before.value(), after.value())}


# Dropout is pix2pix's noise; the few steps there are go into the picture instead.
_SURE: Final = ("dropout=off",)
# Doubling by repetition: transposed convolutions leave checkerboards for thousands of steps.
_CYCLE: Final = ("width=16", "critic_width=24", "batch_size=1", "resize=true")
TASKS: Final = {
    "labels2portrait": Task(
        "pix2pix",
        "portraits:labels2portrait",
        ("in_channels=19", *_SURE),
        800,
        seen_by_the_parser,
    ),
    "edges2portrait": Task(
        "pix2pix", "portraits:edges2portrait", ("in_channels=1", *_SURE), 2000, likeness
    ),
    "portrait2labels": Task(
        "pix2pix",
        "portraits:labels2portrait",
        # Labels need no critic: L1 alone beat the GAN in pix2pix's table 6, too.
        (
            "direction=BtoA",
            "out_channels=19",
            "compare=cross_entropy",
            "critic=none",
            "batch_size=2",
            *_SURE,
        ),
        1000,
        agreement,
    ),
    "neutral2smiling": Task("pix2pix", "smiles", _SURE, 600, likeness, shown=False),
    "world2photo": Task(
        "cyclegan", "portraits/images,faker", ("identity_weight=0", *_CYCLE), 700, distance
    ),
    # Only colours are painted: what is light and what is dark is known.
    "grey2colour": Task(
        "cyclegan",
        "congress,faker",
        ("a_channels=1", "keep=luminance", "identity_weight=0", *_CYCLE),
        1500,
        colours,
    ),
}


# --- runs -----------------------------------------------------------------------------------------


def train(task: Task, spec: str, run: Path, steps: int, seed: int) -> None:
    """Train a task to its end, from wherever it stands."""
    words = [sys.executable, "-m", "pentimento", "train"]
    if (run / "run.json").exists():
        words += ["--resume", str(run), "--steps", str(steps), "--accept-config-change"]
    else:
        words += [task.system, "--data", spec, "--out", str(run), "--steps", str(steps)]
        words += ["--seed", str(seed), *_HOW]
        words += [word for value in task.values for word in ("--set", value)]
    click.echo(" ".join(["pentimento", *words[3:]]))
    subprocess.run(words, check=True)


def strip(name: str, system: Any, data: Any, rows: int = 4) -> Image8:
    """Draw what came, what was painted and, of pairs, the truth, from left to right."""
    lines = []
    for n, (a, b) in enumerate(held_out(data)):
        if n == rows:
            break
        if name == "portrait2labels":
            columns = [b, painted(system, b), a]
        elif name == "grey2colour":  # photos of people are not shown: the other side's greys are
            grey = with_channels(b, 1)
            columns = [grey, painted(system, grey), b]
        else:
            columns = [a, painted(system, a)] + [b] * (name != "world2photo")
        lines.append(
            np.hstack([_PALETTE[x] if x.ndim == 2 else with_channels(x, 3) for x in columns])
        )
    half = (len(lines) + 1) // 2
    lines += [np.zeros_like(lines[0])] * (2 * half - len(lines))
    return np.vstack([np.hstack(pair) for pair in zip(lines[:half], lines[half:], strict=True)])


def _about(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(ABOUT)
        context.exit()


@click.command(help=__doc__)
@click.argument("task", type=click.Choice([*TASKS, "all"]))
@click.option("--world", "worlds", multiple=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/translation"))
@click.option("--steps", type=click.IntRange(1), help="Length of the run.  [default: the task's]")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--about", is_flag=True, is_eager=True, expose_value=False, callback=_about,
    help="Say in one line what this makes and what it costs.",
)  # fmt: skip
def main(
    task: str,
    worlds: tuple[Path, ...],
    data: Path | None,
    out: Path,
    steps: int | None,
    seed: int,
) -> None:
    """Prepare, train, score and draw one task or all."""
    prepare(worlds, data, out / "pictures")
    for name in TASKS if task == "all" else (task,):
        each = TASKS[name]
        root, start = out / "pictures", time.monotonic()
        spec = ",".join(str(root / part) for part in each.spec.split(","))
        needed = [root / part.partition(":")[0] for part in each.spec.split(",")]
        if missing := [folder.name for folder in needed if not folder.exists()]:
            raise click.UsageError(f"{name} needs {', '.join(missing)}: give --world and --data")
        train(each, spec, out / name, steps or each.steps, seed)
        system = models.load(out / name)
        validation = catalog.row(each.system).module().open_data(spec, "val", system.config)
        found = each.score(system, validation)
        minutes = (time.monotonic() - start) / 60
        facts = {"steps": steps or each.steps, "minutes": round(minutes, 1), "scores": found}
        (out / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
        if each.shown:
            sheet = Image.fromarray(strip(name, system, validation))
            sheet.save(out / f"{name}.jpg", quality=85)
        for metric, (idle, value) in found.items():
            nothing = "" if idle is None else f" (doing nothing: {idle:.3f})"
            click.echo(f"{name}: {metric} {value:.3f}{nothing}")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    main()
