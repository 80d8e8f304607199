"""The bundled portrait generator, from data to card.

    python recipes/portrait.py --data DATA --weights src/pentimento/weights/portrait

DATA holds `faker_portraits` (CC0) and `congress_gray` (public domain): a generator that ships
learns from those and from rendered portraits alone. `london_faces`, where it is there, is measured
on and never trained on. Stages:

1. `world`: rendered portraits with their masks;
2. `faces`: photos, found, aligned and labelled by the face parser;
3. `half`: training at half the size, where a step costs half as much for twice the faces;
4. `full`: training at the full size from those weights;
5. `wish`: from those, half of every step under masks as people edit them, judged by the parser;
6. `benchmarks/portrait.py`, the card and the model, its critics left out.

Every stage leaves its result under `--out`; the same command continues where it was stopped.
`--share 0.1` tries the whole with a tenth of portraits, photos and steps.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import click
import cv2
import numpy as np
import torch
from PIL import Image

from pentimento import models
from pentimento.data.faces import read_rgb
from pentimento.engine.loop import fit
from pentimento.engine.settings import Settings
from pentimento.labels import IGNORE
from pentimento.ops.align import crop_to_picture
from pentimento.ops.warp import cut
from pentimento.session.faces import Parser, find_faces
from pentimento.session.models import load_parser
from pentimento.systems.generate.portrait import Config, Portrait, compact, open_data, tiny
from pentimento.world.portraits import portrait

ABOUT: Final = "portrait generator, weights/portrait: about two hours on two cores"
_BENCHMARK: Final = Path(__file__).resolve().parent.parent / "benchmarks" / "portrait.py"
_SURE: Final = 0.4  # less certain labels are unknown


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        half: configuration at half the size.
        full: configuration at the full size.
        wish: configuration with edited masks, whose result ships.
        world: rendered portraits.
        photos: share of the photos that is used.
        unseen: rendered portraits of the benchmark.
        precision: of the forward passes.
        every: steps between validations, sample sheets and checkpoints.
    """

    half: Config
    full: Config
    wish: Config
    world: int
    photos: float
    unseen: int
    precision: Literal["32", "bf16"]
    every: int


def bundled() -> Plan:
    """Return the plan of the bundled weights."""
    # First faces whose truth is known, then masks whose truth nobody has seen.
    full = replace(
        compact(), parser="none", w_parse=0.0, pixel="l2", betas=(0.9, 0.999), adversarial_from=1.0,
        critic_width=16,
    )  # fmt: skip
    wish = replace(
        full, parser="bundled", w_parse=0.02, wishes=True, w_adversarial=0.0, w_feature=0.0,
        adversarial_from=0.0,
    )  # fmt: skip
    return Plan(
        half=replace(full, size=128, batch_size=8, steps=1800, lr=6e-4, constant=0.4),
        full=replace(full, batch_size=4, steps=1600, lr=4e-4, constant=0.3),
        wish=replace(wish, batch_size=4, steps=1100, lr=3e-4, constant=0.5),
        world=3200,
        photos=1.0,
        unseen=16,
        precision="bf16",
        every=100,
    )


def tried() -> Plan:
    """Return a plan of seconds, for the tests."""
    small = replace(tiny(), size=32, steps=2)
    full = replace(small, size=64)
    return Plan(small, full, replace(full, adversarial_from=0.0), 4, 0.5, 1, "32", 1)


def shortened(plan: Plan, share: float) -> Plan:
    """Return the plan with so large a share of its portraits, photos and steps."""

    def fewer(count: int) -> int:
        return max(1, round(share * count))

    half, full, wish = (replace(c, steps=fewer(c.steps)) for c in (plan.half, plan.full, plan.wish))
    return replace(
        plan, half=half, full=full, wish=wish, world=fewer(plan.world), photos=share * plan.photos
    )


# Data


def render_world(out: Path, count: int, size: int) -> None:
    """Draw portraits of seeds 0 to `count`, as `images/` and `labels/` pairs."""
    for seed in range(count):
        if not (out / "labels" / f"{seed}.png").exists():
            truth = portrait(seed, size)
            _keep(out, str(seed), truth.picture, truth.labels.values)


def label_photos(out: Path, photos: list[Path], data: Path, parser: Parser, size: int) -> None:
    """Find, align and label one face per photo, as `images/` and `labels/` pairs.

    A photo without a face that the parser sees is left out; where the parser is not sure, the
    label is `IGNORE`.
    """
    for photo in photos:
        stem = "-".join(photo.relative_to(data).with_suffix("").parts)
        if (out / "labels" / f"{stem}.png").exists():
            continue
        rgb = read_rgb(photo)
        faces = find_faces(rgb, parser)
        if not faces:
            continue
        seen = cut(rgb, faces[0].matrix(parser.size), parser.size)
        shares = np.stack(
            [
                cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR)
                for plane in parser.probabilities(np.rint(seen).astype(np.uint8), tta=True)
            ]
        )
        labels = np.where(shares.max(0) > _SURE, shares.argmax(0), IGNORE).astype(np.uint8)
        crop = np.rint(cut(rgb, crop_to_picture(faces[0].quad, size), size)).astype(np.uint8)
        _keep(out, stem, crop, labels)


def allowed(data: Path) -> Iterator[Path]:
    """Yield the photos that a shipped generator may learn from."""
    for folder in ("faker_portraits", "congress_gray"):
        yield from sorted((data / folder).rglob("*.jpg"))


def _keep(out: Path, stem: str, image: Any, labels: Any) -> None:
    for name, array in (("images", image), ("labels", labels)):  # the label last: it marks the pair
        (out / name).mkdir(parents=True, exist_ok=True)
        part = out / name / f"{stem}.part"
        Image.fromarray(array).save(part, format="PNG", compress_level=1)
        part.replace(out / name / f"{stem}.png")


# Training


def train(
    run: Path, spec: str, config: Config, plan: Plan, start: Portrait | None, seed: int
) -> tuple[Portrait, str]:
    """Train one stage, continue it, or take it where it is done; return best model and cost."""
    if not (run / "done.json").exists():
        torch.manual_seed(seed)
        system = Portrait(config)
        if start is not None:
            weights = start.networks["generator"].state_dict()
            system.networks["generator"].load_state_dict(weights)
        settings = Settings(
            steps=config.steps,
            batch_size=config.batch_size,
            seed=seed,
            save_every=plan.every,
            validate_every=plan.every,
            validate_samples=40,
            sheet_every=plan.every,
            precision=plan.precision,
            workers=0,
            clip=1.0,
            average_decay=0.995,
        )
        began = time.time()
        outcome = fit(
            system,
            run,
            open_data(spec, "train", config),
            open_data(spec, "val", config),
            settings,
            about={"data": spec, "preset": "compact", "recipe": "portrait"},
            resume=(run / "checkpoints").exists(),
        )
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        facts = {"steps": outcome.step, "minutes": round((time.time() - began) / 60, 1)}
        (run / "done.json").write_text(json.dumps(facts) + "\n")
    # Against a judge the last weights are taken: the score that `best` goes by knows no masks.
    plain = config.adversarial_from == 1 and (run / "best").is_dir()
    best = run / "best" if plain else run
    cost = "{steps} steps in {minutes} minutes".format(
        **json.loads((run / "done.json").read_text())
    )
    return models.load(best), cost


# The card


def measure(folder: Path, parser: Path | None, data: Path, unseen: int, out: Path) -> str:
    """Run the benchmark as anyone would; return its table."""
    command = [sys.executable, str(_BENCHMARK), str(folder), "--world", str(unseen)]
    command += ["--parser", str(parser)] if parser else []
    london = data / "london_faces" / "neutral"
    command += ["--photos", str(london)] if london.is_dir() else []
    done = subprocess.run(
        [*command, "--json", str(out)], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write_card(folder: Path, system: Portrait, facts: dict[str, Any], scores: str) -> None:
    """Save the model as it ships, beside its card."""
    card = (Path(__file__).with_name("portrait_card.md")).read_text()
    for name, value in {**facts, "scores": scores}.items():
        card = card.replace("{" + name + "}", str(value))
    models.save(system, folder, card, half=True, networks=("generator",))


def _about(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(ABOUT)
        context.exit()


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/portrait"))
@click.option("--weights", type=click.Path(path_type=Path), help="Where the model goes in the end.")
@click.option("--parser", type=click.Path(path_type=Path), help="Face parser; else the bundled.")
@click.option("--note", default="", help="A sentence for the card, such as what was done by hand.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Of portraits, photos and steps: a shorter run, to try the whole.",
)
@click.option("--smoke", is_flag=True, help="Seconds instead of hours; the result is worthless.")
@click.option(
    "--about",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_about,
    help="Say in one line what this makes and what it costs.",
)
def main(
    data: Path,
    out: Path,
    weights: Path | None,
    parser: Path | None,
    note: str,
    seed: int,
    share: float,
    smoke: bool,
) -> None:
    """Run all stages."""
    plan = shortened(tried() if smoke else bundled(), share)
    size, photos = plan.full.size, list(allowed(data))
    render_world(out / "world", plan.world, size)
    if not (out / "faces" / "done").exists():
        some = photos[:: round(1 / plan.photos)]
        label_photos(out / "faces", some, data, load_parser(parser), size)
        (out / "faces" / "done").touch()
    spec = f"0.5*{out / 'world'},2*{out / 'faces'}"
    half, cost_half = train(out / "half", spec, plan.half, plan, None, seed)
    full, cost_full = train(out / "full", spec, plan.full, plan, half, seed)
    wish, cost_wish = train(out / "wish", spec, plan.wish, plan, full, seed)
    facts = {
        "note": note,
        "seed": seed,
        "unseen": plan.unseen,
        "world": len(list((out / "world" / "labels").iterdir())),
        "photos": len(list((out / "faces" / "labels").iterdir())),
        "half": cost_half,
        "full": cost_full,
        "wish": cost_wish,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, "
        + ("GPU" if torch.cuda.is_available() else "no GPU"),
        "parameters": f"{sum(p.numel() for p in wish.networks['generator'].parameters()):,}",
    }
    folder = weights or out / "model"
    write_card(folder, wish, facts, "not measured yet")
    scores = measure(folder, parser, data, plan.unseen, out / "scores.json")
    write_card(folder, wish, facts, scores)
    click.echo(scores)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
