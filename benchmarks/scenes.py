"""Scenes and frames of clips per second on one core.

    python benchmarks/scenes.py [--count 40]

Prints the machine and means over processor time; the clock's time stands beside it, because other
work on the machine stretches only that. The targets are 4 scenes a second at 256² and 1.5 at 512².
The people who stand in for the small are drawn in a first round that is not measured.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2

from pentimento.world.clips import clip
from pentimento.world.scenes import scene


def measure(name: str, draw: Callable[[int], Any], count: int, each: int = 1) -> None:
    """Print how many pictures are drawn per second."""
    for seed in range(count):
        draw(seed)
    start, began = time.process_time(), time.perf_counter()
    for seed in range(count):
        draw(seed)
    spent, clock = time.process_time() - start, time.perf_counter() - began
    print(
        f"{name}: {count * each / spent:.1f} per second per core, mean "
        f"{1000 * spent / count / each:.0f} ms; by the clock {1000 * clock / count / each:.0f} ms"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=40, help="scenes per size")
    count = parser.parse_args().count
    cv2.setNumThreads(1)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}; "
        f"{count} scenes per size, warm"
    )
    measure("scenes 256² (target 4)", lambda seed: scene(seed, 256), count)
    measure("scenes 512² (target 1.5)", lambda seed: scene(seed, 512), count)
    frames = 8
    measure(
        "frames of clips 256²", lambda seed: clip(seed, frames), max(1, count // frames), frames
    )


if __name__ == "__main__":
    main()
