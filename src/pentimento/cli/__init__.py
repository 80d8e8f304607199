"""The command line. One file per verb; a verb's file is imported only when the verb is called."""

import os
import sys
from importlib import import_module
from typing import Final

import click

from pentimento.errors import PentimentoError

VERBS: Final[dict[str, str]] = {
    "see": "Find every face of a photo.",
    "studio": "Edit in the browser: paint a region, watch it repaint.",
    "parse": "See a portrait as an editable mask.",
    "edit": "Change regions of a portrait.",
    "translate": "Paint pictures anew by a trained model.",
    "validate": "Check a data folder, and say how to mend it.",
    "train": "Train a system, or continue a run.",
    "evaluate": "Measure a model or a run.",
    "styles": "Learn the styles that pix2pixHD draws from.",
    "convert": "Read and write official checkpoints.",
    "world": "Render people who do not exist, with every truth.",
    "systems": "List what can be trained and used.",
}
"""Verb → its one line. The verb `x` is the click command `command` in `pentimento/cli/x.py`."""


class _LazyGroup(click.Group):
    """A group that imports a verb's file only when that verb runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"pentimento.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pentimento")
def cli() -> None:
    """See a picture, change a region, repaint it."""


def main() -> None:
    """Run the command line; errors for people end it with status 2 and one message."""
    # Torch's threads wait for each other in busy loops, so long that beside another program on the
    # same cores the waiting takes ten times as long as the work. They shall fall asleep sooner.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        cli(prog_name="pentimento")
    except PentimentoError as error:
        click.echo(f"pentimento: {error}", err=True)
        sys.exit(2)
