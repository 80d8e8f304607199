"""How long `pentimento edit` takes on a 12-megapixel photo, stage by stage, and its peak memory.

    python benchmarks/edit.py [--parser DIR] [--model DIR] [--painter baseline] [--runs 5]

The photo is scikit-image's astronaut enlarged to 4000 x 3000 pixels with fresh grain, saved as
JPEG; the other face is a rendered portrait. *Cold* is a fresh process, imports and model loading
included; *warm* is the same edit again in a process that has seen both pictures (median of runs,
fastest in brackets). Peak memory is the process's largest resident size.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np


def make_pictures(folder: Path) -> None:
    """Write `photo.jpg` (4000 x 3000) and `other.png`."""
    from skimage.data import astronaut

    from pentimento.files.pictures import save_picture
    from pentimento.structures import Picture
    from pentimento.world.portraits import portrait

    face = astronaut()[0:360, 0:480]  # type: ignore[no-untyped-call]  # no types there
    large = cv2.resize(face, (4000, 3000), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    large += np.random.default_rng(0).normal(0, 3, large.shape).astype(np.float32)
    photo = np.clip(large, 0, 255).round().astype(np.uint8)
    save_picture(Picture(photo), folder / "photo.jpg")
    save_picture(Picture(portrait(10, 512).picture), folder / "other.png")


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Edit once cold and several times warm; print the figures as JSON."""
    start = time.perf_counter()
    from pentimento.session.api import edit

    job = edit(
        folder / "photo.jpg", parser=options.parser, model=options.model, painter=options.painter
    )
    job = job.swap("hair", folder / "other.png").restyle("lips", folder / "other.png")
    load = time.perf_counter() - start

    rounds = []
    for _ in range(1 + options.runs):
        result = job.render()
        start = time.perf_counter()
        result.save(folder / "out.jpg")
        rounds.append({**result.timings, "save": time.perf_counter() - start})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report = {"load": load, "rounds": rounds, "peak_gib": peak, "painter": result.painter}
    print(json.dumps(report))


def main() -> None:
    """Run the benchmark."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--parser")
    options.add_argument("--model")
    options.add_argument("--painter", default="generator")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.inside:
        measure(chosen.inside, chosen)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder)
        words = [sys.executable, __file__, *sys.argv[1:], "--inside", name]
        ended = subprocess.run(words, check=True, capture_output=True, text=True)
    report = json.loads(ended.stdout.splitlines()[-1])
    cold, warm = report["rounds"][0], report["rounds"][1:]
    print(f"{platform.processor() or platform.machine()}, painted by the {report['painter']}")
    print(f"{'stage':<10}{'cold s':>9}{'warm s':>9}  (fastest)")
    print(f"{'load':<10}{report['load']:>9.2f}{'':>9}")
    for stage in cold:
        times = [round_[stage] for round_ in warm] or [float("nan")]
        median, best = statistics.median(times), min(times)
        print(f"{stage:<10}{cold[stage]:>9.2f}{median:>9.2f}  ({best:.2f})")
    total = [sum(round_.values()) for round_ in warm] or [float("nan")]
    print(
        f"{'total':<10}{report['load'] + sum(cold.values()):>9.2f}"
        f"{statistics.median(total):>9.2f}  ({min(total):.2f})"
    )
    print(f"peak memory {report['peak_gib']:.2f} GiB")


if __name__ == "__main__":
    main()
