"""`pentimento parse`: see a portrait as an editable mask."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from pentimento.cli.face_options import face_options, where
from pentimento.cli.folders import make_folder, pictures_in, spare
from pentimento.errors import PentimentoError, PictureError
from pentimento.session.faces import Where


@click.command(
    epilog="""\b
Examples:
  pentimento parse photo.jpg -o mask.png
  pentimento parse photo.jpg -o mask.png --overlay overlay.png --face 2
  pentimento parse photo.jpg -o mask.png --points '412,310 498,305 460,420'
  pentimento parse crop.png -o mask.png --aligned
  pentimento parse photos/ -o masks/ --overlay overlays/"""
)
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path),
    help="Mask to write: indexed PNG of the photo's size. A folder if PHOTO is one.",
)  # fmt: skip
@click.option(
    "--overlay", "overlay_path", type=click.Path(path_type=Path),
    help="Also write the photo with the mask laid over it.",
)  # fmt: skip
@face_options
@click.option("--parser", help="Folder of a face parser.  [default: the bundled one]")
def command(
    photo: Path,
    out: Path,
    overlay_path: Path | None,
    face: int,
    points: Any,
    box: Any,
    aligned: bool,
    parser: str | None,
) -> None:
    """Write the classes of every pixel of PHOTO, in CelebAMask-HQ order, as an indexed PNG.

    PHOTO may be a folder: each picture in it gets a mask of the same name; pictures that cannot
    be parsed are named and skipped, and the exit status is 1.
    """
    meant = where(face, points, box, aligned)
    spare(photo, out, overlay_path)
    if not photo.is_dir():
        _parse(photo, out, overlay_path, meant, parser)
        return
    if overlay_path is not None and overlay_path.resolve() == out.resolve():
        raise PictureError(f"masks and overlays have the same names: {out} cannot take both")
    pictures = pictures_in(photo)
    for folder in filter(None, (out, overlay_path)):
        make_folder(folder, photo)
    failed = 0
    for picture, name in pictures.items():
        over = overlay_path / f"{name}.png" if overlay_path else None
        try:
            _parse(picture, out / f"{name}.png", over, meant, parser)
        except PentimentoError as error:
            failed += 1
            click.echo(f"pentimento: {error}", err=True)
    click.echo(f"{len(pictures) - failed} of {len(pictures)} pictures parsed into {out}")
    if failed:
        sys.exit(1)


def _parse(
    photo: Path, out: Path, overlay_path: Path | None, meant: Where, parser: str | None
) -> None:
    from pentimento.files.masks import overlay, save_mask
    from pentimento.files.pictures import save_picture
    from pentimento.session.api import editor
    from pentimento.structures import Picture

    start = time.perf_counter()
    seer = editor(parser)
    loaded = time.perf_counter()
    view = seer.view(str(photo), meant)
    labels = view.label_map
    save_mask(labels, out)
    if overlay_path is not None:
        save_picture(Picture(overlay(view.rgb, labels), name=str(overlay_path)), overlay_path)
    left, top, right, bottom = (round(v) for v in view.face.box)
    click.echo(
        f"{out}  face at {left},{top} to {right},{bottom}"
        f"  (models {loaded - start:.1f} s, parse {time.perf_counter() - loaded:.1f} s)"
    )
