"""How much landmarks shake in a moving picture, with and without One-Euro smoothing.

    python benchmarks/jitter.py --clips 6

Clips of the world are rendered until enough of them show a face of a useful size from the first
frame to the last. Every frame is looked at as if a detector had just found the face: its true box,
off by two hundredths. The bundled network reads 68 points; the filter gets the frames at 25 per
second. *Shake* is how far the error of a point moves from one frame to the next, *off* how far a
point is from its truth once what is always the same is taken away (people mark faces by other rules
than a head's geometry has): a filter that lags shakes little and is off. Both are means, in pixels
and in hundredths of the distance of the outer eye corners.
"""

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
import numpy as np
from numpy.typing import NDArray

from pentimento.ops.smoothing import OneEuro
from pentimento.session.landmarks import landmarks_in_box
from pentimento.session.models import load_landmarks
from pentimento.world.clips import WorldClip, clip

Points = NDArray[np.float64]  # (frames, 68, 2)
RATE = 25.0
SETTINGS = ((1.0, 0.2), (1.0, 0.02), (0.3, 0.02))


def followed(made: WorldClip, least: float) -> int | None:
    """Return the person whose face is largest and always well seen, or None."""
    spans: dict[int, list[float]] = {}
    for frame in made.frames:
        for segment in frame.segments:
            if segment.face is not None and segment.face.visible > 0.8:
                spans.setdefault(segment.id, []).append(segment.face.interocular)
    seen = {who: min(s) for who, s in spans.items() if len(s) == len(made.frames)}
    who = max(seen, key=lambda each: seen[each], default=None)
    return who if who is not None and seen[who] >= least else None


def with_faces(count: int, length: int, size: int, least: float) -> Iterator[tuple[WorldClip, int]]:
    """Yield clips and the person that is followed in each."""
    seed = found = 0
    while found < count:
        # A longer clip begins like a shorter one: most seeds are ruled out by their first frame.
        if followed(clip(seed, 1, size), least) is not None:
            made = clip(seed, length, size)
            who = followed(made, least)
            if who is not None:
                found += 1
                yield made, who
        seed += 1


def shaken(found: Points, truth: Points, spans: NDArray[np.float64]) -> list[float]:
    """Return shake and off, in pixels and in percent of the eye corners' distance."""
    error = found - truth
    moves = np.linalg.norm(np.diff(error, axis=0), axis=2).mean(1)
    off = np.linalg.norm(error - error.mean(0), axis=2).mean(1)
    share = 100 / spans
    return [moves.mean(), off.mean(), (moves * share[1:]).mean(), (off * share).mean()]


@click.command()
@click.option("--clips", default=6, show_default=True)
@click.option("--length", default=25, show_default=True, help="Frames per clip.")
@click.option("--size", default=320, show_default=True, help="Side of the frames in pixels.")
@click.option("--least", default=24.0, show_default=True, help="Least eye distance in pixels.")
def main(clips: int, length: int, size: int, least: float) -> None:
    """Print the table."""
    model, rng = load_landmarks(), np.random.default_rng(0)
    rows: dict[str, list[list[float]]] = {}
    widths = []
    for made, who in with_faces(clips, length, size, least):
        faces = [next(s.face for s in frame.segments if s.id == who) for frame in made.frames]
        found, truth, spans = [], [], []
        for frame, face in zip(made.frames, faces, strict=True):
            assert face is not None
            side = face.box[3] - face.box[1]
            box = np.array(face.box) + rng.normal(0, 0.02, 4) * side
            found.append(landmarks_in_box(frame.picture, box.tolist(), model).xy)
            truth.append(face.landmarks[68].xy)
            spans.append(face.interocular)
        raw, true = np.stack(found).astype(np.float64), np.stack(truth).astype(np.float64)
        span = np.array(spans)
        widths.append(span.mean())
        rows.setdefault("as read", []).append(shaken(raw, true, span))
        for minimum, slope in SETTINGS:
            smooth = OneEuro(minimum, slope)
            still = np.stack([smooth(frame, n / RATE) for n, frame in enumerate(raw)])
            name = f"One-Euro, minimum {minimum:g}, slope {slope:g}"
            rows.setdefault(name, []).append(shaken(still, true, span))
    print(
        f"{clips} clips of {length} frames at {size}², eye corners {np.mean(widths):.0f} px apart\n"
    )
    print("| | shake, px | off, px | shake, % | off, % |\n|---|---|---|---|---|")
    for name, each in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in np.mean(each, 0)) + " |")


if __name__ == "__main__":
    main()
