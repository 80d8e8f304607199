"""Where a face finder loses faces: recall by size, turn, tilt and what hides them.

    python benchmarks/face_bins.py [--finder DIR] [--unseen 50]

Rendered scenes of unseen seeds are searched as `pentimento see` searches photos, down to a score of
0.02. A face is found where some box overlaps the true one by half, tight where by three quarters,
shown where the found box has at least the score that `see` asks for. Faces count as in the
card: at least half seen, 10 pixels large and turned by 90 degrees at most. Angles are degrees to
either side.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from itertools import pairwise
from typing import Final

import click
import numpy as np
import torch

from pentimento.data.collage import SEEN, SMALLEST, TURNED
from pentimento.data.crowds import VAL_SEEDS
from pentimento.metrics.detection import average_precision
from pentimento.ops.boxes import iou
from pentimento.session.detect import THRESHOLD, detect
from pentimento.session.models import load_finder
from pentimento.structures import Boxes
from pentimento.world.scenes import scene

_SCENE: Final = (384, 512)
_BINS: Final = {
    "size, px": (SMALLEST, 14, 20, 32, 64, 1000),
    "yaw": (0, 15, 30, 45, TURNED + 1),
    "pitch": (0, 10, 20, 91),
    "roll": (0, 10, 20, 181),
    "share seen": (SEEN, 0.7, 0.85, 0.95, 1.01),
}


@click.command(help=__doc__)
@click.option("--finder", help="Folder of a face finder.  [default: the bundled one]")
@click.option("--unseen", default=50, show_default=True, help="Scenes.")
def main(finder: str | None, unseen: int) -> None:
    """Search and print."""
    torch.set_num_threads(1)
    model = load_finder(finder)
    truths, answers, rows = [], [], []
    for seed in range(VAL_SEEDS, VAL_SEEDS + unseen):
        drawn = scene(seed, _SCENE)
        faces = [
            s.face for s in drawn.segments
            if s.face and s.face.visible >= SEEN and abs(s.face.pose[0]) <= TURNED
        ]  # fmt: skip
        boxes = np.array([face.box for face in faces], np.float32).reshape(-1, 4)
        size = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
        found = detect(drawn.picture, model, 0.02)
        answer = Boxes(
            np.array([face.box for face in found], np.float32).reshape(-1, 4),
            np.array([face.score for face in found], np.float32),
        )
        clipped = boxes.clip(0, [*_SCENE[::-1]] * 2)
        overlaps = iou(torch.from_numpy(clipped), torch.from_numpy(answer.xyxy)).numpy()
        for face, extent, shares in zip(faces, size, overlaps, strict=True):
            best = int(shares.argmax()) if len(shares) else -1
            share, score = (shares[best], answer.scores[best]) if len(shares) else (0.0, 0.0)
            hit = (share >= 0.5, share >= 0.75, share >= 0.5 and score >= THRESHOLD)
            if extent >= SMALLEST:
                rows.append((extent, *np.abs(face.pose), face.visible, *hit))
        truths.append(clipped[size >= SMALLEST])
        answers.append(answer)
    precision = average_precision(truths, answers)
    print(f"{unseen} scenes, {len(rows)} faces: AP {precision['ap']:.3f}, at IoU 0.5 "
          f"{precision['ap50']:.3f}, at 0.75 {precision['ap75']:.3f}\n")  # fmt: skip
    print("| | from | to | faces | found | tight | shown |\n|---|---|---|---|---|---|---|")
    table = np.array(rows, np.float64)
    for column, (name, edges) in enumerate(_BINS.items()):
        for low, high in pairwise(edges):
            some = table[(table[:, column] >= low) & (table[:, column] < high), -3:]
            if len(some):
                found, tight, shown = some.mean(0)
                print(f"| {name} | {low:g} | {high:g} | {len(some)} "
                      f"| {found:.2f} | {tight:.2f} | {shown:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
