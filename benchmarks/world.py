"""Portraits per second on one core, at 128² and 256².

    python benchmarks/world.py [--count 20]

Prints the machine and medians. The targets are 8 portraits per second at 128² and 3 at 256².
Processor time is measured beside the clock's: other work on the machine stretches only the latter.
"""

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2

from pentimento.world.portraits import portrait

TARGETS = {128: 8.0, 256: 3.0}


def machine() -> str:
    """Return the processor's name and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="portraits per size")
    count = parser.parse_args().count
    cv2.setNumThreads(1)
    print(f"{machine()}; Python {platform.python_version()}; {count} portraits per size, warm")
    for size, target in TARGETS.items():
        portrait(0, size)
        seconds, clock = [], []
        for seed in range(1, count + 1):
            start, began = time.process_time(), time.perf_counter()
            portrait(seed, size)
            seconds.append(time.process_time() - start)
            clock.append(time.perf_counter() - began)
        median = statistics.median(seconds)
        print(
            f"{size}²: {1 / median:.1f} portraits/s per core (target {target:g}), median "
            f"{1000 * median:.0f} ms, {1000 * min(seconds):.0f} to {1000 * max(seconds):.0f} ms; "
            f"by the clock {1000 * statistics.median(clock):.0f} ms"
        )


if __name__ == "__main__":
    main()
