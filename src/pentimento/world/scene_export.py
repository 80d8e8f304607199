"""Writes scenes and clips with their truths in COCO's conventions.

Layout of the folder (`NNNNNN` is the number of the picture, six digits or more):

    manifest.json           what the folder holds: see `SceneRequest`; written first
    images/NNNNNN.png       the picture (or .jpg)
    panoptic/NNNNNN.png     RGB, segment id = R + 256 G + 65536 B, as COCO panoptic
    labels/NNNNNN.png       indexed PNG of people, value = CelebAMask-HQ class
    maps/NNNNNN.npz         parts (H, W) uint8, uv (H, W, 2) float16, depth (H, W) float32 (dm),
                            vertices (P, 300, 4) float32 of the people, in the annotations' order:
                            x, y, depth in pixels (`world/face_mesh.py`), 1 where visible
    flow/NNNNNN.npz         of clips: flow (H, W, 2) float32 and valid (H, W) bool to the next frame
    truths/NNNNNN.json      {"image", "annotations", "segments_info"} of this picture
    instances.json          COCO instances: boxes, masks (RLE), people with 68 face keypoints
    panoptic.json           COCO panoptic

A person's annotation has `face`: `bbox`, `visible` (share that is seen), `pose` (yaw, pitch, roll
in degrees), `interocular` (pixels) and `landmarks` of 5 and 98 points as [x, y, visible]. Frames of
a clip follow each other; their images name `video_id` and `frame_id`; `track_id` stays the same.

Truths are written last: a picture whose truths are there is complete. An interrupted export goes on
where it stopped; the two indices are written when everything is there.
"""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pentimento.errors import DataError
from pentimento.structures import Keypoints
from pentimento.world.actors import PARTS
from pentimento.world.clips import clip
from pentimento.world.export import Request, heads_of, indexed_png, open_folder, write
from pentimento.world.face_mesh import VERTICES
from pentimento.world.scenes import CATEGORIES, SceneFace, Segment, WorldScene, scene

FORMAT: Final = "pentimento-world-scenes-1"
_FOLDERS: Final = ("images", "panoptic", "labels", "maps", "truths")
_SEGMENTS: Final = 10_000  # annotation id = picture · this + segment id


@dataclass(frozen=True)
class SceneRequest(Request):
    """What an export folder holds; see `export.Request`.

    Attributes:
        length: frames per clip; 0 for scenes.
    """

    length: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered."""
        super().__post_init__()
        if self.size < 32:
            raise DataError(f"--size: expected 32 pixels or more for scenes, got {self.size}")
        if self.length < 0:
            raise DataError(f"--length: expected 1 frame or more, got {self.length}")


def export_scenes(
    folder: Path, count: int, request: SceneRequest | None = None, *, workers: int = 1
) -> Iterator[int]:
    """Write the scenes or clips that are not there yet, then the indices.

    Args:
        folder: made if it is missing; if it holds an export, the same request must have made it.
        count: scenes or clips in the folder afterwards, at least.
        request: what to render.
        workers: processes.

    Yields:
        The number of each scene or clip once it is complete, those found complete first.

    Raises:
        DataError: `count` or `workers` below 1, the folder holds something else or cannot be
            written.
    """
    request = request or SceneRequest()
    if count < 1 or workers < 1:
        raise DataError(f"expected at least 1 scene and 1 worker, got {count} and {workers}")
    open_folder(folder, count, request, FORMAT, _FOLDERS + ("flow",) * (request.length > 0))
    frames = max(request.length, 1)
    missing = []
    for number in range(count):
        last = (number + 1) * frames - 1
        if (folder / "truths" / f"{last:06d}.json").exists():
            yield number
        else:
            missing.append(number)
    task = partial(_write_scene if request.length == 0 else _write_clip, folder, request)
    if workers == 1 or len(missing) < 2:
        yield from map(task, missing)
    else:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            yield from pool.map(task, missing)
    _write_indices(folder, request)


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return COCO's uncompressed run lengths of a mask (H, W): column by column, zeros first."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    edges = np.concatenate([[0], edges, [mask.size]])
    counts = np.diff(edges)
    # The mask's last run may end with the picture: no empty run after it.
    return {"size": list(mask.shape), "counts": counts[: len(counts) - (counts[-1] == 0)].tolist()}


def _write_scene(folder: Path, request: SceneRequest, number: int) -> int:
    made = scene(request.seed + number, request.size, heads_of(request.heads))
    _write_picture(folder, request, number, made, {"seed": request.seed + number})
    return number


def _write_clip(folder: Path, request: SceneRequest, number: int) -> int:
    made = clip(request.seed + number, request.length, request.size, heads_of(request.heads))
    for place, frame in enumerate(made.frames):
        picture = number * request.length + place
        if place + 1 < request.length:
            stream = BytesIO()
            np.savez_compressed(stream, flow=made.flow[place], valid=made.valid[place])
            _put(folder, f"flow/{picture:06d}.npz", stream.getvalue(), number)
        facts = {"seed": request.seed + number, "video_id": number, "frame_id": place}
        _write_picture(folder, request, picture, frame, facts)
    return number


def _put(folder: Path, name: str, data: bytes, number: int) -> None:
    try:
        write(folder / name, data)
    except OSError as problem:
        raise DataError(
            f"{folder}: scene {number} could not be written ({problem}); "
            "mend that and give the same command again to go on"
        ) from problem


def _write_picture(
    folder: Path, request: SceneRequest, number: int, made: WorldScene, facts: dict[str, Any]
) -> None:
    name = f"{number:06d}"
    picture, panoptic, maps = BytesIO(), BytesIO(), BytesIO()
    if request.images == "png":
        Image.fromarray(made.picture).save(picture, "PNG", compress_level=4)
    else:
        Image.fromarray(made.picture).save(picture, "JPEG", quality=95)
    shifts = np.array([0, 8, 16])
    coded = (made.panoptic[..., None] >> shifts & 255).astype(np.uint8)
    Image.fromarray(coded).save(panoptic, "PNG")
    faces = [segment.face.vertices.rows() for segment in made.segments if segment.face]
    np.savez_compressed(
        maps, parts=made.parts, uv=made.uv.uv.astype(np.float16), depth=made.depth,
        vertices=np.array(faces, np.float32).reshape(-1, VERTICES, 4),
    )  # fmt: skip
    _put(folder, f"images/{name}.{request.images}", picture.getvalue(), number)
    _put(folder, f"panoptic/{name}.png", panoptic.getvalue(), number)
    _put(folder, f"labels/{name}.png", indexed_png(made.labels), number)
    _put(folder, f"maps/{name}.npz", maps.getvalue(), number)
    height, width = made.panoptic.shape
    image = {
        "id": number,
        "file_name": f"{name}.{request.images}",
        "width": width,
        "height": height,
    }
    truths = {
        "image": image | facts | {"attributes": made.attributes},
        "annotations": [
            _annotation(number, segment, made) for segment in made.segments if segment.thing
        ],
        "segments_info": [
            {"id": s.id, "category_id": s.category, "area": s.area, "bbox": _bbox(s.box),
             "iscrowd": 0}
            for s in made.segments
        ],
    }  # fmt: skip
    _put(folder, f"truths/{name}.json", json.dumps(truths).encode(), number)


def _bbox(box: tuple[float, float, float, float]) -> list[float]:
    """Return COCO's left, top, width, height."""
    left, top, right, bottom = box
    return [round(edge, 2) for edge in (left, top, right - left, bottom - top)]


def _points(points: Keypoints) -> list[list[float]]:
    return [
        [round(float(x), 2), round(float(y), 2), bool(seen)]
        for (x, y), seen in zip(points.xy, points.visible, strict=True)
    ]


def _annotation(number: int, segment: Segment, made: WorldScene) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": number * _SEGMENTS + segment.id,
        "image_id": number,
        "track_id": segment.id,
        "category_id": segment.category,
        "bbox": _bbox(segment.box),
        "area": segment.area,
        "iscrowd": 0,
        "segmentation": run_lengths(made.panoptic == segment.id),
    }
    if segment.face is not None:
        found |= _face(segment.face)
    return found


def _face(face: SceneFace) -> dict[str, Any]:
    """Return the entries of a person: v of a keypoint is 2 seen, 1 hidden."""
    points = face.landmarks[68]
    flat = [
        value
        for (x, y), seen in zip(points.xy, points.visible, strict=True)
        for value in (round(float(x), 2), round(float(y), 2), 2 if seen else 1)
    ]
    return {
        "keypoints": flat,
        "num_keypoints": len(points.xy),
        "face": {
            "bbox": _bbox(face.box),
            "visible": round(face.visible, 4),
            "pose": [round(angle, 2) for angle in face.pose],
            "interocular": round(face.interocular, 2),
            "landmarks": {str(count): _points(face.landmarks[count]) for count in (5, 98)},
        },
    }


def _write_indices(folder: Path, request: SceneRequest) -> None:
    """Gather all truths into `instances.json` and `panoptic.json`."""
    files = sorted((folder / "truths").glob("[0-9]*.json"), key=lambda path: int(path.stem))
    truths = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    images = [truth["image"] for truth in truths]
    categories: list[dict[str, Any]] = [
        {"id": c.id, "name": c.name, "supercategory": "thing" if c.thing else "stuff",
         "isthing": int(c.thing), "color": list(c.colour)}
        for c in CATEGORIES
    ]  # fmt: skip
    things = [dict(category) for category in categories if category["isthing"]]
    things[0] |= {"keypoints": [f"face_{point}" for point in range(68)], "skeleton": []}
    info = {"description": "rendered by pentimento world", "parts": list(PARTS)}
    instances = {
        "info": info,
        "images": images,
        "annotations": [a for truth in truths for a in truth["annotations"]],
        "categories": things,
    }
    if request.length:
        instances["videos"] = [
            {"id": number, "length": request.length}
            for number in sorted({i["video_id"] for i in images})
        ]
    panoptic = {
        "info": info,
        "images": images,
        "annotations": [
            {"image_id": truth["image"]["id"], "file_name": f"{truth['image']['id']:06d}.png",
             "segments_info": truth["segments_info"]}
            for truth in truths
        ],
        "categories": categories,
    }  # fmt: skip
    try:
        write(folder / "instances.json", json.dumps(instances).encode())
        write(folder / "panoptic.json", json.dumps(panoptic).encode())
    except OSError as problem:
        raise DataError(f"{folder}: the indices could not be written: {problem}") from problem
