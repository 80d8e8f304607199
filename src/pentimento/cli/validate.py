"""`pentimento validate`: what is wrong with a data folder, and how to mend it."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  pentimento validate datasets/facades
  pentimento validate cityscapes/ --classes 35 --json report.json
  pentimento validate photos/,sketches/"""
)
@click.argument("spec", metavar="DIR")
@click.option("--classes", type=click.IntRange(1), help="How many classes label files may hold.")
@click.option("--paired", is_flag=True, help="trainA/ and trainB/, or two folders, hold partners.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write it here.")
def command(spec: str, classes: int | None, paired: bool, json_path: Path | None) -> None:
    """Check a data folder: files, partners, sizes, label values, modes.

    DIR has the layout of pix2pix (A|B side by side), CycleGAN (trainA, trainB), pix2pixHD
    (train_label, train_img, train_inst), faces (images, labels, perhaps truths), COCO (images,
    instances.json) or A/ and B/; two folders may be joined by a comma. Every file is decoded. The
    exit status is 1 if something must be mended.
    """
    from pentimento.data.validate import validate

    report = validate(spec, classes=classes, paired=paired)
    click.echo(f"{spec}  {report.layout}")
    for folder, count in report.counts.items():
        click.echo(f"  {count:6} files  {folder}")
    for title, found in (("problem", report.problems), ("note", report.notes)):
        for each in found:
            click.echo(f"{title}: {each.where}: {each.what}. To mend: {each.mend}.")
    if json_path is not None:
        json_path.write_text(json.dumps(asdict(report), indent=2) + "\n")
    counts = {"problem": len(report.problems), "note": len(report.notes)}
    click.echo(", ".join(f"{n} {title}{'s' * (n != 1)}" for title, n in counts.items()))
    if report.problems:
        sys.exit(1)
