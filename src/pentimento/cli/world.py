"""`pentimento world`: pictures and every truth, rendered from seeds."""

from pathlib import Path
from typing import Literal

import click

_EXAMPLES = """
\b
Examples:
  pentimento world portraits --count 1000 --out faces/
  pentimento world portraits --count 36 --size 256 --out look/ --sheet sheet.png
  pentimento world portraits --count 5000 --seed 100000 --workers 4 --out more/
"""


@click.group()
def command() -> None:
    """Render people who do not exist, with labels, landmarks, UV and depth."""


@command.command(epilog=_EXAMPLES)
@click.option("--count", default=100, show_default=True, help="Portraits in the folder.")
@click.option("--size", default=256, show_default=True, help="Side of the pictures in pixels.")
@click.option(
    "--out", "folder", required=True, type=click.Path(path_type=Path), help="Folder to write."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the first; then it counts up.")
@click.option(
    "--heads", type=click.Path(path_type=Path), help="Head model, or a folder of MakeHuman files."
)
@click.option("--workers", default=1, show_default=True, help="Processes that render.")
@click.option(
    "--format", "images", type=click.Choice(["png", "jpg"]), default="png", show_default=True,
    help="Of the pictures; masks are always PNG.",
)  # fmt: skip
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Also write the first 36 as one picture."
)
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
    with click.progressbar(written, length=count, label=f"portraits → {folder}") as bar:
        for _ in bar:
            pass
    click.echo(f"{count} portraits of {size}×{size} in {folder}")
    if sheet is not None:
        _write_sheet(folder, min(count, 36), images, sheet)
        click.echo(f"contact sheet: {sheet}")


def _write_sheet(folder: Path, count: int, images: str, sheet: Path) -> None:
    import numpy as np
    from PIL import Image

    from pentimento.errors import PictureError
    from pentimento.world.export import contact_sheet

    paths = [folder / "images" / f"{number:06d}.{images}" for number in range(count)]
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
