"""How to get the point back from the map, and what that is worth: measured on the world.

    python benchmarks/landmarks.py --data FOLDER

FOLDER is a data specification of rendered portraits, such as what `pentimento world portraits
--count 1600 --size 256` wrote, or `world:count=1600`. About ten minutes of one core:

1. perfect maps of true points at 32, 64 and 128 pixels, decoded in four ways, with and without
   noise;
2. the bundled network, and one small network trained with maps of each size, decoded likewise;
3. the same trunk regressing coordinates, next to what the mean face alone would score;
   hourglasses of 1, 2 and 4 stacks.

All networks see the same crops in the same order, for the same number of steps. NME is the mean
error over the distance of the outer eye corners, in percent.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

import click
import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pentimento.data.landmarks import LandmarkSample, open_landmarks
from pentimento.ops.heatmaps import DECODINGS, decode, gaussian_maps, to_map, to_picture
from pentimento.session.models import load_landmarks
from pentimento.systems.perceive import hourglass, landmarks
from pentimento.systems.perceive.landmarks import Batch, Landmarks, normalised_errors

SIZE = 128
STRIDES: tuple[Literal[1, 2, 4], ...] = (4, 2, 1)
MAPS = tuple(SIZE // stride for stride in STRIDES)
WIDTHS = (8, 32, 48, 64)
BATCH = 16


def _heatmaps(stride: Literal[1, 2, 4]) -> Landmarks:
    return Landmarks(
        replace(landmarks.compact(), stride=stride, widths=WIDTHS, sigma=1.5, mean_weight=0.0)
    )


def _coordinates() -> Landmarks:
    return Landmarks(replace(landmarks.coordinates(), widths=WIDTHS))


def _hourglass(stacks: int) -> hourglass.StackedHourglasses:
    return hourglass.StackedHourglasses(
        replace(hourglass.compact(), stacks=stacks, width=48, sigma=1.5, decoding="dark")
    )


HEATMAPS: Final[Mapping[str, Callable[[], Landmarks]]] = {
    f"heatmaps of {side}², DARK": partial(_heatmaps, stride)
    for side, stride in zip(MAPS, STRIDES, strict=True)
}
NETWORKS: Final[Mapping[str, Callable[[], Any]]] = {
    **HEATMAPS,
    "coordinates, wing loss": _coordinates,
    "hourglass, 1 stack": partial(_hourglass, 1),
    "hourglass, 2 stacks": partial(_hourglass, 2),
    "hourglass, 4 stacks": partial(_hourglass, 4),
}


def draw(spec: str, split: Any, count: int, seed: int = 0) -> list[LandmarkSample]:
    """Return `count` crops of a split, varied if it is the training split."""
    data = open_landmarks(spec, split, SIZE, 68)
    places = [np.random.default_rng([7 + seed, i]) for i in range(count)]
    order = [i % len(data) for i in range(count)]
    return [data.sample(i, rng) for i, rng in zip(order, places, strict=True)]


def steps_of(crops: list[LandmarkSample]) -> Iterator[Batch]:
    """Yield the crops in steps: only one of them is a batch of floats at a time."""
    for start in range(0, len(crops), BATCH):
        yield landmarks.collate(crops[start : start + BATCH])


def perfect(faces: list[LandmarkSample], side: int, noise: float) -> list[float]:
    """Return the NME of the four decodings on maps of the true points."""
    stride = SIZE / side
    rng = torch.Generator().manual_seed(0)
    errors: dict[str, list[Tensor]] = {how: [] for how in DECODINGS}
    for batch in steps_of(faces):
        inside = ((batch.points > 0) & (batch.points < SIZE)).all(2)
        maps = gaussian_maps(to_map(batch.points, stride), (side, side), 1.5)
        maps = maps + noise * torch.randn(maps.shape, generator=rng)
        for how in DECODINGS:
            found = to_picture(decode(maps, how)[0], stride)
            distance = (found - batch.points).norm(dim=2) / batch.eye_span[:, None]
            errors[how].append(distance[inside])
    return [100 * float(torch.cat(each).mean()) for each in errors.values()]


def train(system: Any, crops: list[LandmarkSample]) -> float:
    """Train on the crops in order; return the seconds of processor time."""
    name = next(iter(system.optimizers))
    spec = system.optimizers[name]
    parameters = list(system.networks.parameters())
    adam = torch.optim.AdamW(parameters, lr=spec.lr, betas=spec.betas, weight_decay=0.01)

    def update(_: str, terms: Any) -> None:
        adam.zero_grad()
        torch.autograd.backward([torch.stack(list(terms.values())).sum()])
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        adam.step()

    system.networks.train()
    began = time.process_time()
    for number, batch in enumerate(steps_of(crops)):
        adam.param_groups[0]["lr"] = spec.lr * spec.schedule(number * BATCH / len(crops))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            system.train_step(batch, update)
    system.networks.eval()
    return time.process_time() - began


def cost(system: Any) -> tuple[float, float]:
    """Return MFLOP (two per multiplication) of one crop, and thousands of parameters."""
    network = next(iter(system.networks.values()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, SIZE, SIZE))
    parameters = sum(p.numel() for p in network.parameters())
    return counter.get_total_flops() / 1e6, parameters / 1e3


def measure(
    name: str, seen: list[LandmarkSample], unseen: list[LandmarkSample], seed: int = 0
) -> dict[str, Any]:
    """Train one of `NETWORKS` and return its scores and costs.

    `nme` in percent (`decodings`: of every decoding of a heatmap), `mflop`, `thousands` of
    parameters, `seconds` of processor time of the training.
    """
    torch.manual_seed(seed)
    system = NETWORKS[name]()
    seconds = train(system, seen)
    flops, parameters = cost(system)
    measured = {"mflop": flops, "thousands": parameters, "seconds": seconds}
    if name in HEATMAPS:
        nmes = {how: score(system, unseen, decoder(system, how)) for how in DECODINGS}
        return measured | {"nme": nmes["dark"], "decodings": nmes}
    return measured | {"nme": score(system, unseen, system.locate)}


def mean_face(seen: list[LandmarkSample], unseen: list[LandmarkSample]) -> float:
    """Return the NME in percent of always answering with the mean of the training crops."""
    mean = torch.from_numpy(np.mean([sample.points for sample in seen], 0, np.float32))
    return 100 * normalised_errors(steps_of(unseen), lambda image: mean.expand(len(image), -1, -1))


def score(system: Any, unseen: list[LandmarkSample], locate: Callable[[Tensor], Tensor]) -> float:
    """Return NME in percent."""
    return 100 * normalised_errors(steps_of(unseen), locate)


def decoder(system: Landmarks, how: Any) -> Callable[[Tensor], Tensor]:
    """Return what locates points by another decoding of the same maps."""
    return lambda image: to_picture(decode(system.maps(image), how)[0], system.stride)


@click.command()
@click.option("--data", required=True, help="Data specification of rendered portraits.")
@click.option("--steps", default=250, show_default=True, help="Steps of 16 crops per network.")
@click.option("--unseen", default=200, show_default=True, help="Held-out portraits.")
def main(data: str, steps: int, unseen: int) -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    seen, tests = draw(data, "train", steps * BATCH), draw(data, "val", unseen)
    click.echo(f"{steps} steps of {BATCH} crops at {SIZE}², {unseen} unseen portraits\n")
    click.echo("| NME in % of | " + " | ".join(DECODINGS) + " |")
    click.echo("|---|" + "---|" * len(DECODINGS))

    def row(name: str, values: list[float]) -> None:
        click.echo(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")

    for title, noise in (("perfect maps", 0.0), ("maps with noise 0.05", 0.05)):
        for side in MAPS:
            row(f"{title}, {side}²", perfect(tests, side, noise))
    ours = load_landmarks()
    row("bundled network, 32²", [score(ours, tests, decoder(ours, how)) for how in DECODINGS])
    others = [f"| the mean face | {mean_face(seen, tests):.2f} | 0 | 0 | 0 |"]
    for name in NETWORKS:
        each = measure(name, seen, tests)
        others.append(
            f"| {name} | {each['nme']:.2f} | {each['mflop']:.0f} | {each['thousands']:.0f} "
            f"| {each['seconds']:.0f} |"
        )
        click.echo(others[-1], err=True)
        if name in HEATMAPS:
            row(
                name.replace("heatmaps of", "trained network,").removesuffix(", DARK"),
                list(each["decodings"].values()),
            )
    click.echo("\n| | NME, % | MFLOP | thousand parameters | seconds |\n|---|---|---|---|---|")
    click.echo("\n".join(others))


if __name__ == "__main__":
    main()
