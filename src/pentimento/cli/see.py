"""`pentimento see`: find every face of a photo."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pentimento.cli.folders import ENDINGS, make_folder, pictures_in, spare
from pentimento.errors import PentimentoError, PictureError

if TYPE_CHECKING:
    from pentimento.session.see import Seen


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
    help="JSON to write, in COCO's conventions; one file also for a folder. An older one of that "
    "name is replaced when all is seen.",
)  # fmt: skip
@click.option(
    "--overlay", "overlay_path", type=click.Path(path_type=Path),
    help="Also write the photo with every face marked. A folder if PHOTO is one.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Least score of a face.  [default: 0.3]"
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
    spare(photo, out, overlay_path)
    if out is not None:
        _check_json(out)
    if not photo.is_dir():
        _write(out, [_see(photo, overlay_path, options)])
        return
    pictures = pictures_in(photo)
    if overlay_path is not None:
        make_folder(overlay_path, photo)
    failed: list[Path] = []

    def each() -> "Iterator[Seen]":
        for picture, name in pictures.items():
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


def _check_json(out: Path) -> None:
    """Say before all the looking, not after it, that the JSON has no place."""
    if out.suffix.lower() in ENDINGS:
        raise PictureError(f"{out} is named like a picture; what `-o` writes is JSON: scene.json")
    if out.is_dir():
        raise PictureError(f"{out} is a folder; the JSON is one file, also for many pictures")
    if not out.parent.is_dir():
        raise PictureError(f"{out}: the folder {out.parent} does not exist; create it first")


def _see(photo: Path, overlay_path: Path | None, options: dict[str, Any]) -> "Seen":
    from pentimento.files.pictures import save_picture
    from pentimento.session.api import see
    from pentimento.session.detect import MOST
    from pentimento.structures import Picture

    start = time.perf_counter()
    seen = see(str(photo), **options)
    taken = time.perf_counter() - start
    if overlay_path is not None:
        save_picture(Picture(seen.overlay(), name=str(overlay_path)), overlay_path)
    count = len(seen.faces)
    click.echo(f"{photo}  {count or 'no'} face{'s' if count != 1 else ''}  ({taken:.1f} s)")
    if count == MOST:
        click.echo(
            f"pentimento: {photo}: only the {MOST} surest faces are told. A finder that sees so "
            "many has seldom been trained enough; a higher --threshold shows fewer.",
            err=True,
        )
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
