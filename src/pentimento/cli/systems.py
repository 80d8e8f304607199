"""`pentimento systems`: what can be trained and used."""

import click

from pentimento.catalog import CATALOG


@click.command(
    epilog="""\b
Examples:
  pentimento systems
  pentimento train face_parsing --data world --preset tiny --out runs/parse"""
)
def command() -> None:
    """List the systems: name, what it is for, one line."""
    if not CATALOG:
        click.echo("no systems are installed")
        return
    width = max(map(len, CATALOG))
    for name, row in sorted(CATALOG.items(), key=lambda item: (item[1].task, item[0])):
        click.echo(f"{name:{width}}  {row.task:8}  {row.line}")
