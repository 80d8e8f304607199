"""`pentimento edit`: change regions of a portrait."""

import json
import time
from pathlib import Path
from typing import Any

import click

from pentimento.cli.face_options import face_options, where
from pentimento.errors import PentimentoError, PictureError
from pentimento.labels import REGIONS


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
    help="baseline: warp and blend, no model; paste: no blending, for comparison.",
)
@face_options
@click.option("--model", help="Folder of a portrait generator.  [default: the bundled one]")
@click.option("--parser", help="Folder of a face parser.  [default: the bundled one]")
@click.option(
    "--json",
    "report",
    type=click.Path(path_type=Path),
    help="Also write what was done, as JSON: replayable document, timings, notices.",
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
    points: tuple[tuple[float, float], ...] | None,
    box: tuple[float, float, float, float] | None,
    aligned: bool,
    model: str | None,
    parser: str | None,
    report: Path | None,
) -> None:  # fmt: skip
    """Repaint regions of the face in PHOTO; every pixel outside the blend band stays as it is."""
    if not (masks or swaps or restyles):
        raise PentimentoError("nothing to do: give --mask, --swap or --restyle (see --help)")
    inputs = [photo, *masks]
    pairs = [_pair(text, "--swap") for text in swaps]
    styles = [_styled(text) for text in restyles]
    inputs += [Path(p) for _, p in pairs] + [Path(p) for _, p, _ in styles]
    for output in filter(None, (out, save_mask, report)):
        if any(output.resolve() == path.resolve() for path in inputs):
            raise PictureError(f"{output} is one of the inputs; give the output another name")

    start = time.perf_counter()
    from pentimento.session.api import edit
    from pentimento.session.document import Restyle, Swap

    job = edit(
        photo, where(face, points, box, aligned), model=model, parser=parser, painter=painter
    )
    for region, other in pairs:
        job = job.swap(region, other)
    for region, reference, amount in styles:
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

    for done in result.document.commands:
        if isinstance(done, Swap):
            click.echo(f"swap     {done.region} from {done.other}")
        elif isinstance(done, Restyle):
            click.echo(f"restyle  {done.region} like {done.reference}, amount {done.amount:g}")
        else:
            click.echo(f"reshape  by {done.mask}")
    touched = int((result.weight > 0).sum())
    if touched:
        rows, columns = (
            (result.weight > 0).any(1).nonzero()[0],
            (result.weight > 0).any(0).nonzero()[0],
        )
        click.echo(
            f"painted  {touched} pixels ({100 * touched / result.weight.size:.2f} %) within "
            f"{columns[0]},{rows[0]} to {columns[-1] + 1},{rows[-1] + 1} by the {result.painter}; "
            "every other pixel is unchanged"
        )
    else:
        click.echo("painted  nothing: the edit changes no pixel")
    for notice in result.notices:
        click.echo(f"note     {notice}")
    click.echo("time     " + ", ".join(f"{k} {v:.2f} s" for k, v in timings.items()))
    click.echo(str(out))
    if report is not None:
        from pentimento.files.atomic import write_atomically

        described = {
            "document": json.loads(result.document.to_json()),
            "painter": result.painter,
            "painted_pixels": touched,
            "face_side_px": result.side,
            "seconds": timings,
            "notices": result.notices,
        }
        write_atomically(report, (json.dumps(described, indent=2) + "\n").encode(), PentimentoError)


def _pair(text: str, option: str) -> tuple[str, str]:
    """Split REGION=PATH; check the region before anything is loaded."""
    from pentimento.session.document import check_region

    region, equals, path = text.partition("=")
    if not equals or not path:
        raise PentimentoError(
            f"{option} takes REGION=PICTURE, for example hair=other.jpg; got {text!r}"
        )
    check_region(region)
    return region, path


def _styled(text: str) -> tuple[str, str, float]:
    """Split REGION=PATH[:AMOUNT]."""
    region, path = _pair(text, "--restyle")
    head, colon, amount = path.rpartition(":")
    if colon and not Path(path).exists():
        try:
            return region, head, float(amount)
        except ValueError:
            pass  # the colon belongs to the path
    return region, path, 1.0
