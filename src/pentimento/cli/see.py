"""`pentimento see`: find every face of a photo."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pentimento.errors import PentimentoError, PictureError

if TYPE_CHECKING:
    from pentimento.session.see import Seen

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


@click.command(
    epilog="""\b
Examples:
  pentimento see photo.jpg
  pentimento see photo.jpg -o scene.json --overlay overlay.png
  pentimento see photos/ -o scenes.json --overlay overlays/"""
)
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="JSON to write, in COCO's conventions; one file also for a folder.",
)  # fmt: skip
@click.option(
    "--overlay", "overlay_path", type=click.Path(path_type=Path),
    help="Also write the photo with every face marked. A folder if PHOTO is one.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Least score of a face.  [default: 0.5]"
)
@click.option("--finder", help="Folder of a face finder.  [default: the bundled one]")
@click.option("--landmarks", help="Folder of a landmark model.  [default: the bundled one]")
def command(
    photo: Path,
    out: Path | None,
    overlay_path: Path | None,
    threshold: float | None,
    finder: str | None,
    landmarks: str | None,
) -> None:
    """Find every face of PHOTO: box, score, points and pose, the largest face first.

    PHOTO may be a folder: all its pictures go into one JSON file; those that cannot be read are
    named and skipped, and the exit status is 1.
    """
    options = {"finder": finder, "landmarks": landmarks, "threshold": threshold}
    for path in filter(None, (out, overlay_path)):
        if path.resolve() == photo.resolve():
            raise PictureError(f"{path} is the photo itself; give the output another name")
    if not photo.is_dir():
        _write(out, [_see(photo, overlay_path, options)])
        return
    pictures = sorted(p for p in photo.iterdir() if p.suffix.lower() in _ENDINGS and p.is_file())
    if not pictures:
        raise PictureError(f"{photo} holds no pictures ({', '.join(_ENDINGS)})")
    if overlay_path is not None:
        overlay_path.mkdir(parents=True, exist_ok=True)
    failed: list[Path] = []
    stems = Counter(picture.stem for picture in pictures)

    def each() -> "Iterator[Seen]":
        for picture in pictures:
            name = picture.stem if stems[picture.stem] == 1 else picture.name
            try:
                yield _see(picture, overlay_path and overlay_path / f"{name}.png", options)
            except PentimentoError as error:
                failed.append(picture)
                click.echo(f"pentimento: {error}", err=True)

    faces = _write(out, each())
    read = f"{len(pictures) - len(failed)} of {len(pictures)} pictures"
    click.echo(f"{faces} face{'s' if faces != 1 else ''} in {read}")
    if failed:
        sys.exit(1)


def _see(photo: Path, overlay_path: Path | None, options: dict[str, Any]) -> "Seen":
    from pentimento.files.pictures import save_picture
    from pentimento.session.api import see
    from pentimento.structures import Picture

    start = time.perf_counter()
    seen = see(str(photo), **options)
    taken = time.perf_counter() - start
    if overlay_path is not None:
        save_picture(Picture(seen.overlay(), name=str(overlay_path)), overlay_path)
    count = len(seen.faces)
    click.echo(f"{photo}  {count or 'no'} face{'s' if count != 1 else ''}  ({taken:.1f} s)")
    for number, face in enumerate(seen.faces, 1):
        left, top, right, bottom = (round(float(edge)) for edge in face.box)
        pose = face.pose
        click.echo(
            f"  {number}  {left},{top} to {right},{bottom}  score {face.score:.2f}  "
            f"yaw {pose.yaw:.0f} pitch {pose.pitch:.0f} roll {pose.roll:.0f}"
        )
    return seen


def _write(out: Path | None, seen: "Iterable[Seen]") -> int:
    """Write the JSON, if it is wanted; return the number of faces."""
    from pentimento.files.atomic import write_atomically
    from pentimento.session.see import coco

    scene = coco(seen)
    if out is not None:
        write_atomically(out, (json.dumps(scene, indent=1) + "\n").encode(), PictureError)
    return len(scene["annotations"])
