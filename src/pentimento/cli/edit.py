"""`pentimento edit`: change regions of a portrait."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pentimento.cli.face_options import face_options, where
from pentimento.errors import PentimentoError, PictureError
from pentimento.labels import REGIONS

if TYPE_CHECKING:
    from pentimento.session.editor import Result


@click.command(
    epilog=f"""\b
Regions: {", ".join(list(REGIONS)[:9])},
  {", ".join(list(REGIONS)[9:])}

\b
Examples:
  pentimento parse photo.jpg -o mask.png      # then repaint mask.png in any editor
  pentimento edit photo.jpg --mask mask.png -o out.png
  pentimento edit photo.jpg --swap hair=other.jpg --restyle lips=ref.jpg -o out.png
  pentimento edit photo.jpg --restyle hair=ref.jpg:0.6 -o out.jpg --save-mask m.png
  pentimento edit photo.jpg --swap eyes=other.jpg --painter baseline -o out.png"""
)
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Picture to write."
)
@click.option(
    "--mask",
    "masks",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An edited mask: where it differs from the parse, shapes change.",
)
@click.option(
    "--swap",
    "swaps",
    multiple=True,
    metavar="REGION=OTHER",
    help="Take shape and look of a region from another picture.",
)
@click.option(
    "--restyle",
    "restyles",
    multiple=True,
    metavar="REGION=REF[:AMOUNT]",
    help="Take only the look of a region; AMOUNT from 0 to 1.",
)
@click.option(
    "--save-mask", type=click.Path(path_type=Path), help="Also write the mask after the edit."
)
@click.option(
    "--painter",
    type=click.Choice(["generator", "baseline", "paste"]),
    default="generator",
    show_default=True,
    help="baseline: warp and blend, no model; paste: unblended, for comparison.",
)
@face_options
@click.option("--model", help="Folder of a portrait generator.  [default: the bundled one]")
@click.option("--parser", help="Folder of a face parser.  [default: the bundled one]")
@click.option(
    "--json",
    "report",
    type=click.Path(path_type=Path),
    help="Also write what was done: replayable document, timings, notices.",
)
def command(
    photo: Path,
    out: Path,
    masks: tuple[Path, ...],
    swaps: tuple[str, ...],
    restyles: tuple[str, ...],
    save_mask: Path | None,
    painter: Any,
    face: int,
    points: Any,
    box: Any,
    aligned: bool,
    model: str | None,
    parser: str | None,
    report: Path | None,
) -> None:
    """Repaint regions of the face in PHOTO; pixels outside the blend band stay as they are."""
    if not (masks or swaps or restyles):
        raise PentimentoError("nothing to do: give --mask, --swap or --restyle (see --help)")
    swapped = [_pair(text, "--swap") for text in swaps]
    styled = [_styled(text) for text in restyles]
    inputs = [photo, *masks, *(Path(p) for _, p in swapped), *(Path(p) for _, p, _ in styled)]
    _check_outputs((out, save_mask, report), inputs)

    start = time.perf_counter()
    from pentimento.session.api import edit

    job = edit(
        photo, where(face, points, box, aligned), model=model, parser=parser, painter=painter
    )
    for region, other in swapped:
        job = job.swap(region, other)
    for region, reference, amount in styled:
        job = job.restyle(region, reference, amount)
    for mask in masks:
        job = job.reshape(mask)
    loaded = time.perf_counter() - start
    result = job.render()
    start = time.perf_counter()
    result.save(out)
    if save_mask is not None:
        result.save_mask(save_mask)
    timings = {"load": loaded, **result.timings, "save": time.perf_counter() - start}
    _tell(result, timings, out)
    if report is not None:
        _write_report(result, timings, report)


def _check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    """Refuse to write over an input or into a folder that is not there, before any work."""
    sources = {path.resolve() for path in inputs}
    for output in filter(None, outputs):
        if output.resolve() in sources:
            raise PictureError(f"{output} is one of the inputs; give the output another name")
        if not output.resolve().parent.is_dir():
            raise PictureError(
                f"{output}: the folder {output.parent} does not exist; create it first"
            )


def _tell(result: "Result", timings: dict[str, float], out: Path) -> None:
    """Print what was done, where, and how long each stage took."""
    for done in result.document.commands:
        if done.verb == "swap":
            click.echo(f"swap     {done.region} from {done.other}")
        elif done.verb == "restyle":
            click.echo(f"restyle  {done.region} like {done.reference}, amount {done.amount:g}")
        elif done.verb == "reshape":
            click.echo(f"reshape  by {done.mask}")
    box = result.box
    if box is None:
        click.echo("painted  nothing: the edit changes no pixel")
    else:
        share = 100 * result.painted / result.weight.size
        click.echo(
            f"painted  {result.painted} pixels ({share:.2f} %) within "
            f"{box[0]},{box[1]} to {box[2]},{box[3]} by the {result.painter}; "
            "every other pixel is unchanged"
        )
    for notice in result.notices:
        click.echo(f"note     {notice}")
    click.echo("time     " + ", ".join(f"{name} {took:.2f} s" for name, took in timings.items()))
    click.echo(f"wrote    {out}")


def _write_report(result: "Result", timings: dict[str, float], path: Path) -> None:
    from pentimento.files.atomic import write_atomically

    report = {
        "document": json.loads(result.document.to_json()),
        "painter": result.painter,
        "painted_pixels": result.painted,
        "painted_box": result.box,
        "face_side_px": result.side,
        "seconds": timings,
        "notices": result.notices,
    }
    write_atomically(path, (json.dumps(report, indent=2) + "\n").encode(), PentimentoError)


def _pair(text: str, option: str) -> tuple[str, str]:
    """Split REGION=PATH; the region is checked before anything is loaded."""
    from pentimento.session.document import check_region

    region, _, path = text.partition("=")
    if not path:
        raise PentimentoError(
            f"{option} takes REGION=PICTURE, for example hair=other.jpg; got {text!r}"
        )
    check_region(region)
    return region, path


def _styled(text: str) -> tuple[str, str, float]:
    """Split REGION=PATH[:AMOUNT]."""
    region, path = _pair(text, "--restyle")
    head, _, amount = path.rpartition(":")
    if head and not Path(path).exists():
        try:
            return region, head, float(amount)
        except ValueError:
            pass  # the colon belongs to the path
    return region, path, 1.0
