"""Writes portraits and their truths into a folder, so that any program can read them.

Layout of the folder (`NNNNNN` is the number of the portrait, six digits or more):

    manifest.json           what the folder holds: see `Request`; written first
    images/NNNNNN.png       the picture (or .jpg)
    labels/NNNNNN.png       indexed PNG, value = CelebAMask-HQ class, with that palette
    maps/NNNNNN.npz         uv (S, S, 2) float16, covered (S, S) bool, depth (S, S) float32 (dm)
    truths/NNNNNN.json      {"seed", "size", "box": [left, top, right, bottom], "landmarks":
                            {"5" | "68" | "98": [[x, y, visible], ...]}, "vertices":
                            [[x, y, depth, visible], ...] (`world/face_mesh.py`; pixels),
                            "attributes": {...}}

Each file is written under another name and then renamed, `truths` last: a portrait whose truths are
there is complete. An interrupted export goes on where it stopped.
"""

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pentimento.errors import DataError
from pentimento.structures import LabelMap
from pentimento.world.heads import Heads, load_heads
from pentimento.world.portraits import WorldPortrait, portrait

FORMAT: Final = "pentimento-world-portraits-1"


@dataclass(frozen=True)
class Request:
    """What an export folder holds; `manifest.json` is this plus `format` and `count`.

    Attributes:
        seed: of portrait 0; portrait n has seed + n.
        size: side of the pictures.
        images: `png` or `jpg`.
        heads: folder of the head model, None for the built-in one.
    """

    seed: int = 0
    size: int = 256
    images: Literal["png", "jpg"] = "png"
    heads: str | None = None

    def __post_init__(self) -> None:
        """Refuse sizes and seeds that cannot be rendered."""
        if not 16 <= self.size <= 2048:
            raise DataError(f"--size: expected 16 to 2048 pixels, got {self.size}")
        if self.seed < 0:
            raise DataError(f"--seed: expected 0 or more, got {self.seed}")


def export_portraits(
    folder: Path, count: int, request: Request | None = None, *, workers: int = 1
) -> Iterator[int]:
    """Write the portraits that are not there yet.

    Args:
        folder: made if it is missing; if it holds an export, the same request must have made it.
        count: portraits in the folder afterwards, at least.
        request: what to render.
        workers: processes.

    Yields:
        The number of each portrait once it is complete, those found complete first.

    Raises:
        DataError: `count` or `workers` below 1, the folder holds something else or cannot be
            written.
    """
    request = request or Request()
    if count < 1 or workers < 1:
        raise DataError(f"expected at least 1 portrait and 1 worker, got {count} and {workers}")
    open_folder(folder, count, request, FORMAT, ("images", "labels", "maps", "truths"))
    missing = []
    for number in range(count):
        if (folder / "truths" / f"{number:06d}.json").exists():
            yield number
        else:
            missing.append(number)
    task = partial(_write_portrait, folder, request)
    if workers == 1 or len(missing) < 2:
        yield from map(task, missing)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        yield from pool.map(task, missing)


def contact_sheet(
    pictures: list[NDArray[np.uint8]], columns: int | None = None
) -> NDArray[np.uint8]:
    """Return equal pictures (S, S, 3) side by side, in rows; empty places are black."""
    columns = columns or max(1, round(len(pictures) ** 0.5))
    rows = -(-len(pictures) // columns)
    size = len(pictures[0])
    sheet = np.zeros((rows * size, columns * size, 3), np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = picture
    return sheet


def indexed_png(labels: LabelMap) -> bytes:
    """Return an indexed PNG of a label map with the palette of its label set."""
    image = Image.fromarray(labels.values, "P")
    image.putpalette([level for colour in labels.labels.colours for level in colour])
    stream = BytesIO()
    image.save(stream, "PNG", optimize=False)
    return stream.getvalue()


def open_folder(
    folder: Path, count: int, request: Request, kind: str, names: Sequence[str]
) -> None:
    """Make an export's folder and its manifest, or check that they fit.

    Args:
        folder: to write.
        count: what it will hold, at least.
        request: what made it.
        kind: `format` in the manifest.
        names: folders in it.

    Raises:
        DataError: it holds something else or cannot be written.
    """
    manifest = folder / "manifest.json"
    wanted = {"format": kind, **asdict(request)}
    if manifest.exists():
        try:
            found = dict(json.loads(manifest.read_text(encoding="utf-8")))
            held = int(found.pop("count"))
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise DataError(f"{manifest}: not a manifest of an export ({problem})") from problem
        differing = [key for key in wanted if found.get(key) != wanted[key]]
        if differing:
            details = ", ".join(f"{k} {found.get(k)!r}, asked {wanted[k]!r}" for k in differing)
            raise DataError(
                f"{folder} holds another export ({details}); give the same options to continue it, "
                "or another --out"
            )
        count = max(count, held)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not empty and holds no export; give another --out")
    try:
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
        write(manifest, (json.dumps(wanted | {"count": count}, indent=2) + "\n").encode())
    except OSError as problem:
        raise DataError(f"{folder} cannot be written: {problem}") from problem


def write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


@cache
def heads_of(folder: str | None) -> Heads:
    """Return a head model, loaded once per process."""
    return load_heads(Path(folder) if folder else None)


def _write_portrait(folder: Path, request: Request, number: int) -> int:
    """Render and write one portrait; return its number."""
    made = portrait(request.seed + number, request.size, heads_of(request.heads))
    name = f"{number:06d}"
    picture, maps = BytesIO(), BytesIO()
    if request.images == "png":
        Image.fromarray(made.picture).save(picture, "PNG", compress_level=4)
    else:
        Image.fromarray(made.picture).save(picture, "JPEG", quality=95)
    np.savez_compressed(
        maps, uv=made.uv.uv.astype(np.float16), covered=made.uv.covered, depth=made.depth
    )
    try:
        write(folder / "images" / f"{name}.{request.images}", picture.getvalue())
        write(folder / "labels" / f"{name}.png", indexed_png(made.labels))
        write(folder / "maps" / f"{name}.npz", maps.getvalue())
        truths = json.dumps(_truths(request.seed + number, request.size, made))
        write(folder / "truths" / f"{name}.json", truths.encode())
    except OSError as problem:
        raise DataError(
            f"{folder}: portrait {number} could not be written ({problem}); "
            "mend that and give the same command again to go on"
        ) from problem
    return number


def _truths(seed: int, size: int, made: WorldPortrait) -> dict[str, object]:
    return {
        "seed": seed,
        "size": size,
        "box": [round(float(edge), 2) for edge in made.box.xyxy[0]],
        "landmarks": {
            str(count): [
                [round(float(x), 2), round(float(y), 2), bool(seen)]
                for (x, y), seen in zip(points.xy, points.visible, strict=True)
            ]
            for count, points in made.landmarks.items()
        },
        "vertices": made.vertices.rows().astype(float).round(2).tolist(),
        "attributes": made.attributes,
    }
