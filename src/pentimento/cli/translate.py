"""`pentimento translate`: pictures through a model of pix2pix or CycleGAN."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from pentimento.errors import PentimentoError, PictureError

if TYPE_CHECKING:
    from pentimento.session.translation import Translator

_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


@click.command(
    epilog="""\b
Examples:
  pentimento translate in.jpg -o out.png --model runs/pix2pix
  pentimento translate photos/ -o painted/ --model runs/cyclegan --direction BtoA
  pentimento translate labels.png -o photo.png --model facades --seed 3"""
)
@click.argument("picture", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path),
    help="Picture to write. A folder if PICTURE is one.",
)  # fmt: skip
@click.option("--model", required=True, type=click.Path(path_type=Path), help="Folder of a model.")
@click.option(
    "--direction", type=click.Choice(["AtoB", "BtoA"]),
    help="[default: the one it was trained for; AtoB for cyclegan]",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True,
    help="Of the noise, for models that draw some.",
)  # fmt: skip
@click.option(
    "--memory", type=click.FloatRange(0, min_open=True), metavar="GIB",
    help="How much painting may take; larger pictures are painted in bands, to the same result, "
    "with scratch files in TMPDIR.  [default: half of what is free]",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["auto", "32", "bf16"]), default="auto", show_default=True,
    help="auto: bf16 where the processor has it and this model's pictures stay the same to half a "
    "grey level on average; 32 with --memory.",
)  # fmt: skip
def command(
    picture: Path,
    out: Path,
    model: Path,
    direction: Literal["AtoB", "BtoA"] | None,
    seed: int,
    memory: float | None,
    precision: Literal["auto", "32", "bf16"],
) -> None:
    """Paint PICTURE anew by a model that translates; its size stays as it is, and may be any.

    PICTURE may be a folder: each picture in it becomes a PNG of the same name; pictures that
    cannot be translated are named and skipped, and the exit status is 1.
    """
    from pentimento.session.translation import Translator

    allowed = None if memory is None else int(memory * 2**30)
    translator = Translator(model, direction, allowed, precision)
    if not picture.is_dir():
        if out.resolve() == picture.resolve():
            raise PictureError(f"{out} is the picture itself; give the output another name")
        _translate(translator, picture, out, seed)
        return
    pictures = sorted(p for p in picture.iterdir() if p.suffix.lower() in _ENDINGS)
    if not pictures:
        raise PictureError(f"{picture} holds no pictures ({', '.join(_ENDINGS)})")
    if out.resolve() == picture.resolve():
        raise PictureError(f"{out} is the folder of the pictures themselves; give another one")
    if out.exists() and not out.is_dir():
        raise PictureError(f"{out} is a file; the pictures of a folder need a folder to go to")
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    taken: set[str] = set()
    for path in pictures:
        try:
            if path.stem in taken:
                raise PictureError(f"{path}: another picture of this name was already translated")
            taken.add(path.stem)
            _translate(translator, path, out / f"{path.stem}.png", seed)
        except PentimentoError as error:
            failed += 1
            click.echo(f"pentimento: {error}", err=True)
    click.echo(f"{len(pictures) - failed} of {len(pictures)} pictures translated into {out}")
    if failed:
        sys.exit(1)


def _translate(translator: "Translator", path: Path, out: Path, seed: int) -> None:
    from pentimento.files.pictures import open_picture, save_picture

    start = time.perf_counter()
    painted = translator.translate(open_picture(path), seed)
    save_picture(painted, out)
    click.echo(
        f"{out}  {painted.width}×{painted.height} {painted.mode}"
        f"  ({time.perf_counter() - start:.1f} s)"
    )
