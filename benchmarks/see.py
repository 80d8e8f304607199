"""How long `pentimento see` takes on a 12-megapixel photo, stage by stage, and its peak memory.

    python benchmarks/see.py [--finder DIR] [--landmarks DIR] [--runs 5] [--threads 2]

The photo is scikit-image's astronaut enlarged to 4000 x 3000 pixels with fresh grain, with rendered
portraits of 60 to 500 pixels laid on it. *Warm* is a second look in the same process (median of
runs, fastest in brackets); times by the clock, and of the processor for machines that are busy.
Also: one pass of the detector over a 640 x 480 picture, as its authors count it, and all of the
finding in such a photo, which is enlarged for its smallest faces.
"""

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pentimento.session.detect import THRESHOLD, detect
from pentimento.session.models import bundled, load_finder, load_landmarks
from pentimento.session.see import see_faces
from pentimento.world.portraits import portrait

Times = dict[str, list[tuple[float, float]]]


def make_photo() -> NDArray[np.uint8]:
    """Return (3000, 4000, 3): a woman, and nine people who do not exist."""
    from skimage.data import astronaut

    face = astronaut()[0:360, 0:480]  # type: ignore[no-untyped-call]  # no types there
    large = cv2.resize(face, (4000, 3000), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    large += np.random.default_rng(0).normal(0, 3, large.shape).astype(np.float32)
    photo = np.clip(large, 0, 255).round().astype(np.uint8)
    x = 20
    for seed, side in enumerate((60, 80, 100, 140, 180, 240, 300, 400, 500)):
        photo[2480 : 2480 + side, x : x + side] = portrait(seed, side).picture
        x += side + 40
    return np.asarray(photo, np.uint8)


class Stopwatch:
    """Collects how long named stages took, by the clock and by the processor."""

    def __init__(self) -> None:
        self.times: Times = {}

    def time(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do a piece of work and keep how long it took."""
        clock, processor = time.perf_counter(), time.process_time()
        done = work()
        took = time.perf_counter() - clock, time.process_time() - processor
        self.times.setdefault(stage, []).append(took)
        return done


class TimedFinder:
    """A finder that keeps the time of its passes, added up for one photo."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder
        self.clock = self.processor = 0.0

    def predict(self, image: NDArray[np.uint8], *, threshold: float = THRESHOLD) -> Any:
        """Look, and add the time up."""
        clock, processor = time.perf_counter(), time.process_time()
        found = self._finder.predict(image, threshold=threshold)
        self.clock += time.perf_counter() - clock
        self.processor += time.process_time() - processor
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finder")
    parser.add_argument("--landmarks")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    finder = load_finder(options.finder)
    has_landmarks = options.landmarks or bundled("landmarks")
    marker = load_landmarks(options.landmarks) if has_landmarks else None
    photo, vga = make_photo(), cv2.resize(make_photo(), (640, 480), interpolation=cv2.INTER_AREA)
    watch = Stopwatch()
    for _ in range(1 + options.runs):
        timed = TimedFinder(finder)
        watch.time("finding", lambda timed=timed: detect(photo, timed))  # type: ignore[misc]  # mypy
        watch.times.setdefault("  of it, the network", []).append((timed.clock, timed.processor))
        seen = watch.time("all, with points and pose",
                          lambda: see_faces(photo, "photo.jpg", finder, marker))  # fmt: skip
        watch.time("overlay", seen.overlay)
        watch.time("640 x 480, one pass", lambda: finder.predict(np.asarray(vga, np.uint8)))
        watch.time("640 x 480, finding", lambda: detect(np.asarray(vga, np.uint8), finder))
    points = 68 if marker is not None else 5
    print(f"{platform.machine()}, {options.threads} threads; 4000 x 3000: {len(seen.faces)} faces, "
          f"{points} points each")  # fmt: skip
    print(f"{'warm, ms':<28}{'clock':>8}  {'(fastest)':<10}{'processor':>9}")
    for stage, times in watch.times.items():
        clock, processor = (
            sorted(1000 * t for t in column[1:]) for column in zip(*times, strict=True)
        )
        print(f"{stage:<28}{statistics.median(clock):8.0f}  {f'({clock[0]:.0f})':<10}"
              f"{statistics.median(processor):9.0f}")  # fmt: skip
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
