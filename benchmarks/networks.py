"""Milliseconds of a forward pass: the bundled parser and portrait generator, by backend.

    python benchmarks/networks.py [--rounds 15] [--threads 2] [--parser FOLDER] [--portrait FOLDER]

Every network that one face runs through is measured with the inputs it gets there: the parser in
`predict`, the generator in `encode` and `repaint`, at the sizes they are made for. Backends take
turns in every round, so that other work on the machine strikes all of them alike; the processor's
time, over all threads, says what a busy machine hides. Beside the times stands how far a backend's
output is from eager fp32's, of the largest output, and for the parser the share of pixels that get
another class. OpenVINO is measured where it is installed (extra `fast`); the product runs eager.
The last line is the whole of the parser's test-time augmentation, resizing included.
"""

import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn

from pentimento.session.models import load_parser, load_portrait
from pentimento.world.portraits import portrait

Inputs = tuple[Tensor, ...]
Forward = Callable[[], Tensor]


def record(networks: nn.ModuleDict, use: Callable[[], Any]) -> dict[str, Inputs]:
    """Return network → the inputs of its first call while `use` runs."""
    seen: dict[str, Inputs] = {}

    def keep(name: str) -> Callable[[nn.Module, Inputs], None]:
        def hook(_: nn.Module, inputs: Inputs) -> None:
            seen.setdefault(name, tuple(x.clone() for x in inputs))

        return hook

    hooks = [net.register_forward_pre_hook(keep(name)) for name, net in networks.items()]
    use()
    for hook in hooks:
        hook.remove()
    return seen


def first(output: Any) -> Tensor:
    """Return the answer of a network, which may have further outputs for training."""
    answer: Tensor = output if isinstance(output, Tensor) else output[0]
    return answer.float()


def backends(network: nn.Module, inputs: Inputs, threads: int) -> dict[str, Forward]:
    """Return backend → a forward pass in it."""
    # Copies, since a network has one layout at a time.
    fast = copy.deepcopy(network)
    for parameter in fast.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    last = [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs]

    def bf16() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return first(fast(*last))

    found: dict[str, Forward] = {
        "eager fp32": lambda: first(network(*inputs)),
        "channels-last fp32": lambda: first(fast(*last)),
        "channels-last bf16": bf16,
    }
    try:
        import openvino
    except ImportError:
        return found
    model = openvino.convert_model(network, example_input=inputs)
    model.reshape({i: list(x.shape) for i, x in enumerate(inputs)})
    for name, precision in (("OpenVINO f32", "f32"), ("OpenVINO bf16", "bf16")):
        settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.compile_model(model, "CPU", settings)
        found[name] = partial(_run, compiled, [x.numpy() for x in inputs])
    return found


def _run(compiled: Any, arrays: list[Any]) -> Tensor:
    return torch.from_numpy(np.array(compiled(arrays)[0]))


def measure(network: nn.Module, inputs: Inputs, rounds: int, threads: int, labels: bool) -> None:
    """Print one table: backend, median and fastest, processor time, distance from the first."""
    ways = backends(network, inputs, threads)
    exact, *others = (way() for way in ways.values())
    clock: dict[str, list[float]] = {name: [] for name in ways}
    worked: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start, began = time.process_time(), time.perf_counter()
            way()
            clock[name].append(1000 * (time.perf_counter() - began))
            worked[name].append(1000 * (time.process_time() - start))
    for name, output in zip(ways, [exact, *others], strict=True):
        apart = float((output - exact).abs().max() / exact.abs().max())
        line = f"  {name:20} {statistics.median(clock[name]):6.1f} ms  ({min(clock[name]):.1f})"
        line += f"  processor {statistics.median(worked[name]):.1f} ms  off by {100 * apart:.3f} %"
        if labels:
            other = (output.argmax(1) != exact.argmax(1)).float().mean()
            line += f", {100 * float(other):.3f} % other classes"
        click.echo(line)


@click.command()
@click.option("--rounds", default=15, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--parser", type=click.Path(path_type=Path), help="Another parser.")
@click.option("--portrait", "painter", type=click.Path(path_type=Path), help="Another generator.")
def main(rounds: int, threads: int, parser: Path | None, painter: Path | None) -> None:
    """Measure the networks of the product."""
    torch.set_num_threads(threads)
    version = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    click.echo(f"{version}; {threads} threads; median of {rounds} interleaved rounds (fastest)")
    seeing, painting = load_parser(parser), load_portrait(painter)
    side = painting.config.size
    face = portrait(3_000_000, side)

    def paint() -> None:
        painting.repaint(painting.encode(face.picture, face.labels), face.labels, face.picture)

    used = {
        "parser": (seeing, lambda: seeing.predict(face.picture)),
        "portrait": (painting, paint),
    }
    for title, (system, use) in used.items():
        system.networks.eval()
        for name, inputs in record(system.networks, use).items():
            shapes = ", ".join("×".join(map(str, x.shape)) for x in inputs)
            click.echo(f"{title}: {name} ({shapes})")
            with torch.no_grad():
                measure(system.networks[name], inputs, rounds, threads, title == "parser")
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        seeing.probabilities(face.picture, tta=True)
        took.append(1000 * (time.perf_counter() - began))
    click.echo(f"parser, all views of a face: {statistics.median(took):.1f} ms  ({min(took):.1f})")


if __name__ == "__main__":
    main()
