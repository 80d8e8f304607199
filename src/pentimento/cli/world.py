"""`pentimento world`: pictures and every truth, rendered from seeds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import click

_EXAMPLES = """
\b
Examples:
  pentimento world portraits --count 1000 --out faces/
  pentimento world portraits --count 36 --size 256 --out look/ --sheet sheet.png
  pentimento world portraits --count 5000 --seed 100000 --workers 4 --out more/
"""
_SCENE_EXAMPLES = """
\b
Examples:
  pentimento world scenes --count 1000 --size 512 --out scenes/
  pentimento world scenes --count 36 --out look/ --sheet sheet.png
"""
_CLIP_EXAMPLES = """
\b
Examples:
  pentimento world clips --count 100 --length 16 --out clips/
"""


@click.group()
def command() -> None:
    """Render people who do not exist, with labels, landmarks, UV and depth."""


def _options(default: int, what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator with the options that every export has."""
    options = [
        click.option(
            "--count", default=default, show_default=True, help=f"{what} in the folder."
        ),
        click.option(
            "--size", default=256, show_default=True, help="Side of the pictures in pixels."
        ),
        click.option(
            "--out", "folder", required=True, type=click.Path(path_type=Path),
            help="Folder to write."
        ),
        click.option(
            "--seed", default=0, show_default=True, help="Seed of the first; then it counts up."
        ),
        click.option(
            "--heads", type=click.Path(path_type=Path),
            help="Head model, or a folder of MakeHuman files.",
        ),
        click.option("--workers", default=1, show_default=True, help="Processes that render."),
        click.option(
            "--format", "images", type=click.Choice(["png", "jpg"]), default="png",
            show_default=True, help="Of the pictures; masks are always PNG.",
        ),
        click.option(
            "--sheet", type=click.Path(path_type=Path),
            help="Also write the first 36 as one picture.",
        ),
    ]  # fmt: skip

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@command.command(epilog=_EXAMPLES)
@_options(100, "Portraits")
def portraits(
    count: int, size: int, folder: Path, seed: int, heads: Path | None, workers: int,
    images: Literal["png", "jpg"], sheet: Path | None,
) -> None:  # fmt: skip
    """Write aligned portraits: picture, 19-class mask, landmarks, UV map and depth of each.

    The folder says in manifest.json what it holds. The same command again goes on where an
    interrupted one stopped; a larger --count adds to it.
    """
    from pentimento.world.export import Request, export_portraits

    request = Request(seed, size, images, str(heads.resolve()) if heads else None)
    written = export_portraits(folder, count, request, workers=workers)
    _export(written, count, "portraits", f"{count} portraits of {size}×{size} in {folder}", folder)
    _write_sheet(folder, count, images, sheet)


@command.command(epilog=_SCENE_EXAMPLES)
@_options(100, "Scenes")
def scenes(
    count: int, size: int, folder: Path, seed: int, heads: Path | None, workers: int,
    images: Literal["png", "jpg"], sheet: Path | None,
) -> None:  # fmt: skip
    """Write scenes: people and things in places, in COCO's instances and panoptic conventions.

    Boxes, masks and face landmarks are in instances.json, the panoptic truth in panoptic.json and
    panoptic/; labels/ and maps/ hold the 19 classes, parts, UV and depth. The same command again
    goes on where an interrupted one stopped; a larger --count adds to it.
    """
    from pentimento.world.scene_export import SceneRequest, export_scenes

    request = SceneRequest(seed, size, images, str(heads.resolve()) if heads else None)
    written = export_scenes(folder, count, request, workers=workers)
    _export(written, count, "scenes", f"{count} scenes of {size}×{size} in {folder}", folder)
    _write_sheet(folder, count, images, sheet)


@command.command(epilog=_CLIP_EXAMPLES)
@_options(20, "Clips")
@click.option("--length", default=8, show_default=True, help="Frames of a clip.")
def clips(
    count: int, size: int, folder: Path, seed: int, heads: Path | None, workers: int,
    images: Literal["png", "jpg"], sheet: Path | None, length: int,
) -> None:  # fmt: skip
    """Write clips: moving scenes with the truths of every frame, optical flow and lasting ids.

    The folder is that of scenes, frame after frame, with flow/ to the next frame; images name
    their video_id and frame_id, annotations their track_id.
    """
    from pentimento.errors import DataError
    from pentimento.world.scene_export import SceneRequest, export_scenes

    if length < 1:
        raise DataError(f"--length: expected 1 frame or more, got {length}")
    request = SceneRequest(seed, size, images, str(heads.resolve()) if heads else None, length)
    written = export_scenes(folder, count, request, workers=workers)
    done = f"{count} clips of {length} frames of {size}×{size} in {folder}"
    _export(written, count, "clips", done, folder)
    _write_sheet(folder, count * length, images, sheet)


def _export(written: Iterator[int], count: int, what: str, done: str, folder: Path) -> None:
    bar: Any
    with click.progressbar(written, length=count, label=f"{what} → {folder}") as bar:
        for _ in bar:
            pass
    click.echo(done)


def _write_sheet(folder: Path, count: int, images: str, sheet: Path | None) -> None:
    if sheet is None:
        return
    import numpy as np
    from PIL import Image

    from pentimento.errors import PictureError
    from pentimento.world.export import contact_sheet

    paths = [folder / "images" / f"{number:06d}.{images}" for number in range(min(count, 36))]
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture.convert("RGB")))
    try:
        Image.fromarray(contact_sheet(pictures)).save(sheet)
    except (OSError, ValueError) as problem:
        raise PictureError(
            f"{sheet}: the contact sheet could not be written ({problem})"
        ) from problem
    click.echo(f"contact sheet: {sheet}")
