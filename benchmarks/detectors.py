"""How long each detector takes for a 640 x 480 photo, at `compact`.

    python benchmarks/detectors.py [--rounds 15] [--threads 2]

The bundled face finder sees the photo as it is; DensePose and the box detectors bring it to the
side they are trained at, and, in the second column, to 640 pixels, where nothing is lost. Their
weights are random: decoding and suppression are included, but have nothing sure to find. Landmarks
(bundled) and the hourglass take the crop of one face, at their own side, and `see` does all that
`pentimento see` does to a photo, with the bundled weights: views, points, pose. Medians of
interleaved rounds by the clock, the fastest in brackets, and of the processor, for machines that
are busy (with `--threads 1`: waiting threads count). The photo is scikit-image's astronaut.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import click
import cv2
import numpy as np
import torch

from pentimento.catalog import row
from pentimento.session.models import load_finder, load_landmarks
from pentimento.session.see import see_faces
from pentimento.systems.perceive.hourglass import StackedHourglasses
from pentimento.systems.perceive.hourglass import compact as hourglass

NAMES: Final = ("cornernet", "centernet_triplets", "centernet", "densepose")


@click.command()
@click.option("--rounds", default=15, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(rounds: int, threads: int) -> None:
    """Measure and print."""
    from skimage.data import astronaut

    torch.set_num_threads(threads)
    picture = astronaut()  # type: ignore[no-untyped-call]  # no types there
    photo = np.asarray(cv2.resize(picture, (640, 480)), np.uint8)
    finder, marker = load_finder(), load_landmarks()
    crop = np.ascontiguousarray(photo[40:280, 180:420])
    models: dict[str, Callable[[Any], Any]] = {"retinaface, 640": finder.predict}
    for name in NAMES:
        config = row(name).module().compact()
        for size in (config.size, 640):
            torch.manual_seed(0)
            models[f"{name}, {size}"] = row(name).system()(replace(config, size=size)).predict
    torch.manual_seed(0)
    stacked = StackedHourglasses(hourglass())
    models[f"landmarks, {marker.size}, each face"] = lambda _: marker.predict(crop)
    models[f"hourglass, {stacked.size}, each face"] = lambda _: stacked.predict(crop)
    models["see, 640 x 480, one face"] = lambda photo: see_faces(photo, "photo", finder, marker)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for _ in range(rounds + 1):  # the first warms up
        for name, look in models.items():
            began, worked = time.perf_counter(), time.process_time()
            look(photo)
            took = time.perf_counter() - began, time.process_time() - worked
            times[name].append((1000 * took[0], 1000 * took[1]))
    print(f"threads: {threads}\n\n| detector, side | ms | of the processor |\n|---|---|---|")
    for name, each in times.items():
        clock, processor = zip(*each[1:], strict=True)
        print(
            f"| {name} | {statistics.median(clock):.0f} ({min(clock):.0f}) "
            f"| {statistics.median(processor):.0f} ({min(processor):.0f}) |"
        )


if __name__ == "__main__":
    main()
