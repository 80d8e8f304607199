"""How fast pix2pix and CycleGAN are here, beside the plain eager networks; and how much memory.

    python benchmarks/translation.py speed [--systems pix2pix] [--batches 1,4] [--rounds 5]
    python benchmarks/translation.py memory [--megapixels 24]

`speed` compares, at 256², *plain* (the same weights in a network with `nn.InstanceNorm2d` or
`nn.BatchNorm2d`, fp32, Adam as PyTorch builds it) with *ours*, fp32 and bf16: forward passes as
`pentimento translate` does them (`runtime.reduced`), steps as `pentimento train` does. Rounds are
interleaved in one process on one thread; times are seconds of processor time, the fastest of the
rounds, so that other programs on the machine count little. The difference is that of the pictures,
in grey levels of 255; peak memory that of a process of its own which does the same twice.

`memory` translates a picture of many megapixels with `--memory 1`, and a smaller one both in bands
and whole, in processes of their own.
"""

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import numpy as np
import torch
from torch import Tensor, nn

from pentimento import catalog, models
from pentimento.engine.processes import launch, placed
from pentimento.engine.settings import Settings
from pentimento.engine.update import Optimizers
from pentimento.nn.norm import BatchNorm
from pentimento.runtime.reduced import reduced

_SIZE: Final = 256
_PAINTERS: Final = {"pix2pix": ("generator",), "cyclegan": ("a_to_b",)}
KINDS: Final = ("plain", "ours", "ours bf16")
MEMORY_KINDS: Final = ("bands", "whole")
_HELD: Final = ExitStack()  # a context that is forgotten ends, and its precision with it


def build(name: str) -> Any:
    """Return a system of the paper's size with drawn weights; without noise, to be comparable."""
    torch.manual_seed(0)
    row = catalog.row(name)
    config = row.module().PRESETS["paper"]()
    return row.system()(replace(config, dropout="off"))


def plain(network: nn.Module) -> nn.Module:
    """Return a copy with the normalisations that everybody uses."""
    copied = copy.deepcopy(network)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, nn.InstanceNorm2d(child.num_channels))
            elif isinstance(child, BatchNorm):
                common = nn.BatchNorm2d(child.num_features)
                common.load_state_dict(child.state_dict())
                setattr(parent, name, common)
    return copied


def batch_of(system: Any, size: int) -> Any:
    """Return random pictures as the system's batch."""
    module = catalog.row(catalog.name_of(type(system))).module()
    drawn = torch.Generator().manual_seed(1)
    pictures = [torch.rand(size, 3, _SIZE, _SIZE, generator=drawn) * 2 - 1 for _ in range(2)]
    return module.Batch(*pictures)


def forward(system: Any, kind: str, size: int) -> Callable[[], Tensor]:
    """Return the call that paints."""
    (name,) = _PAINTERS[catalog.name_of(type(system))]
    used = reduced(system) if kind == "ours bf16" else system
    network, seen = used.networks[name], next(iter(vars(batch_of(system, size)).values()))
    if kind == "plain":  # batch statistics, as pix2pix is used: in training mode, one by one
        common = plain(network).train()
        return torch.no_grad()(lambda: torch.cat([common(one[None]) for one in seen]))
    network.eval()
    return torch.no_grad()(lambda: network(seen))


def step(system: Any, kind: str, size: int) -> Callable[[], None]:
    """Return the call that trains for one step."""
    batch = batch_of(system, size)
    system = copy.deepcopy(system)
    if kind == "plain":
        system.networks = nn.ModuleDict({k: plain(n) for k, n in system.networks.items()}).train()
        own = {
            key: [p for name in spec.networks for p in system.networks[name].parameters()]
            for key, spec in system.optimizers.items()
        }
        adams = {key: torch.optim.Adam(own[key], 2e-4, (0.5, 0.999)) for key in own}

        def update(key: str, terms: Any) -> None:
            adams[key].zero_grad()
            for other in own:  # as the official code: gradients for one group only
                for parameter in own[other]:
                    parameter.requires_grad_(other == key)
            loss = torch.stack(list(terms.values())).sum()
            loss.backward(inputs=own[key])  # type: ignore[no-untyped-call]  # no types there
            for parameters in own.values():
                for parameter in parameters:
                    parameter.requires_grad_(True)
            adams[key].step()

        return lambda: system.train_step(batch, update)
    settings = Settings(4, size, precision="bf16" if kind == "ours bf16" else "32")
    fabric = launch(settings)
    _HELD.enter_context(placed(fabric, system))
    optimizers = Optimizers(fabric, system.networks, system.optimizers, settings)

    def call() -> None:
        optimizers.begin(0.0, last=True)
        system.train_step(batch, optimizers)

    return call


def peak_of(*words: str) -> float:
    """Run this file on one thing in a process of its own; return its peak memory in GiB."""
    command = [sys.executable, __file__, "inside", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _peak() -> float:
    # Not getrusage: a process that was started by a large one begins with that one's peak.
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 2**20


@click.group(help=__doc__)
def cli() -> None:
    """Measure."""
    torch.set_num_threads(1)


@cli.command()
@click.option("--systems", default="pix2pix,cyclegan", show_default=True)
@click.option("--batches", default="1,4", show_default=True)
@click.option("--jobs", default="forward,step", show_default=True)
@click.option("--kinds", default=",".join(KINDS), show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--peaks/--no-peaks", default=True, help="Measure memory, too.")
def speed(systems: str, batches: str, jobs: str, kinds: str, rounds: int, peaks: bool) -> None:
    """Print one row per system, batch, job and kind; `plain` must be among the kinds."""
    compared = kinds.split(",")
    click.echo("| | batch | job | s | ratio | grey levels, max / mean | GiB |")
    click.echo("|---|---|---|---|---|---|---|")
    for name in systems.split(","):
        system = build(name)
        for size in map(int, batches.split(",")):
            for job in jobs.split(","):
                make: Any = forward if job == "forward" else step
                calls = {kind: make(system, kind, size) for kind in compared}
                taken: dict[str, list[float]] = {kind: [] for kind in compared}
                made: dict[str, Tensor] = {}
                for _ in range(rounds + 1):  # the first one warms up
                    for kind, call in calls.items():
                        start = time.process_time()
                        made[kind] = call()
                        taken[kind].append(time.process_time() - start)
                best = {kind: min(times[1:]) for kind, times in taken.items()}
                for kind in compared:
                    away = ""
                    if job == "forward":
                        gap = (made[kind] - made["plain"]).abs() * 127.5
                        away = f"{gap.max():.2g} / {gap.mean():.2g}"
                    gib = f"{peak_of(name, str(size), job, kind):.2f}" if peaks else ""
                    ratio = best["plain"] / best[kind]
                    click.echo(
                        f"| {name}, {kind} | {size} | {job} | {best[kind]:.3f} | {ratio:.2f} | "
                        f"{away} | {gib} |"
                    )


@cli.command()
@click.option("--megapixels", default=24.0, show_default=True)
@click.option("--small", default=1.5, show_default=True, help="Megapixels of the comparison.")
@click.option("--preset", default="compact", show_default=True)
def memory(megapixels: float, small: float, preset: str) -> None:
    """Translate large pictures by pix2pix; print peak memory and time."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        row = catalog.row("pix2pix")
        torch.manual_seed(0)
        system = row.system()(replace(row.module().PRESETS[preset](), dropout="off"))
        models.save(system, folder / "model", "# Random weights\n", networks=("generator",))
        click.echo(f"pix2pix {preset}, one thread")
        for size, kinds in ((megapixels, ("bands",)), (small, MEMORY_KINDS)):
            for kind in kinds:
                before = os.times()
                peak = peak_of("picture", str(size), str(folder), kind)
                after = os.times()
                clock = after.elapsed - before.elapsed
                own = after.children_user + after.children_system
                own -= before.children_user + before.children_system
                click.echo(
                    f"{size:g} megapixels, {kind}: peak {peak:.2f} GiB, "
                    f"{own:.0f} s of a core ({clock:.0f} s by the clock)"
                )
        one, other = (np.load(folder / f"{kind}.npy").astype(int) for kind in MEMORY_KINDS)
        gap = np.abs(one - other)
        click.echo(f"bands against whole: {gap.max()} grey levels at most, {gap.mean():.2g} mean")


@cli.command(hidden=True)
@click.argument("words", nargs=-1)
def inside(words: tuple[str, ...]) -> None:
    """Do one thing; print the peak memory of this process in GiB."""
    name, size, where, kind = words
    if name == "picture":
        from pentimento.session.translation import Translator
        from pentimento.structures import Picture

        height = round((float(size) * 1e6 / 1.5) ** 0.5)
        drawn = np.random.default_rng(0).integers(
            0, 256, (height, round(1.5 * height), 3), np.uint8
        )
        allowed = 2**30 if kind == "bands" and float(size) > 8 else 2**26
        translator = Translator(Path(where) / "model", memory=allowed if kind == "bands" else 2**60)
        painted = translator.translate(Picture(drawn))
        peak = _peak()
        np.save(Path(where) / f"{kind}.npy", painted.pixels)
        print(json.dumps(peak))
        return
    make: Any = forward if where == "forward" else step
    call = make(build(name), kind, int(size))
    for _ in range(2):
        call()
    print(json.dumps(_peak()))


if __name__ == "__main__":
    with _HELD:
        cli()
