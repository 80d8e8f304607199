"""Processor time of one of the studio's repaints, without browser and server.

    python benchmarks/repaint.py [--strokes 40]

It holds still where others use the cores too. The strokes are like those of benchmarks/studio.py:
six short lines on the face of a 12-megapixel photo (scikit-image's astronaut, enlarged), repainted
near each stroke as after a brush is lifted.
"""

import argparse
import random
import statistics
import time
from typing import Final

import cv2
import numpy as np
import torch
from skimage.data import astronaut

from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.session.api import editor
from pentimento.session.document import Document, Paint
from pentimento.session.editor import working_side
from pentimento.structures import LabelMap, Picture

REGIONS: Final = CELEBAMASK19.values("hair", "skin", "l_brow", "l_lip", "nose", "background")


def main() -> None:
    """Paint strokes, print the milliseconds that their repaints took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strokes", type=int, default=40)
    count = parser.parse_args().strokes
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    face = astronaut()[0:360, 0:480]  # type: ignore[no-untyped-call]  # no types there
    large = cv2.resize(face, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    desk = editor()
    photo = desk.assets.keep(Picture(np.asarray(large, np.uint8), name="astronaut"))
    side = working_side(desk.view(photo))
    layer = np.full((side, side), IGNORE, np.uint8)
    chance = random.Random(0)
    taken = []
    for _ in range(count + 3):  # the first ones load and cache
        value = chance.choice(REGIONS)
        x, y = 0.5 + chance.uniform(-0.25, 0.25), 0.5 + chance.uniform(-0.35, 0.3)
        line = [(x, y)]
        for _ in range(6):
            x, y = x + chance.uniform(-0.03, 0.03), y + chance.uniform(-0.03, 0.03)
            line.append((x, y))
        points = (np.array(line) * side).astype(np.int32)
        cv2.polylines(layer, [points], False, (int(value),), side // 14)
        desk.assets.masks["draft"] = LabelMap(layer.copy())
        start = time.process_time()
        desk.preview(Document(photo, commands=(Paint("draft"),)))
        taken.append(1000 * (time.process_time() - start))
    taken = sorted(taken[3:])
    p95 = taken[min(len(taken) - 1, round(0.95 * len(taken)))]
    print(f"processor time of a repaint, {len(taken)} strokes on a 12-megapixel photo:")
    print(f"p50 {statistics.median(taken):.0f} ms, p95 {p95:.0f} ms, fastest {taken[0]:.0f} ms")


if __name__ == "__main__":
    main()
