"""`pentimento studio`: edit in the browser."""

from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  pentimento studio
  pentimento studio --no-browser --port 9000 --documents ~/portraits"""
)
@click.option("--port", type=click.IntRange(0, 65535), help="[default: 8765, or any that is free]")
@click.option("--browser/--no-browser", default=True, help="Open the page.  [default: browser]")
@click.option(
    "--documents",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where unfinished work is kept.  [default: the system's folder for states]",
)
@click.option("--model", help="Folder of a portrait generator.  [default: the bundled one]")
def command(port: int | None, browser: bool, documents: Path | None, model: str | None) -> None:
    """Open a page on this machine: paint a region, watch it repaint.

    Nothing leaves the machine. The address holds a key that changes at every start.
    """
    from pentimento.studio.server import default_folder, run

    run(documents or default_folder(), port, model, browser, lambda text: click.echo(text))
