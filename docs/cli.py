"""Write `docs/cli.md` from the verbs' own help: `python docs/cli.py`, or `make docs`."""

from pathlib import Path

import click

from pentimento.cli import VERBS, cli

PAGE = Path(__file__).with_suffix(".md")


def reference() -> str:
    """Return the page: every verb's help as a terminal 80 columns wide shows it."""
    lines = ["# Command line", "", "Made from `--help` by `make docs`; a test holds it current."]
    root = click.Context(cli, **cli.context_settings)
    for verb in VERBS:
        command = cli.get_command(root, verb)
        assert command is not None
        lines += section(command, f"pentimento {verb}", root)
    return "\n".join(lines) + "\n"


def section(command: click.Command, name: str, parent: click.Context) -> list[str]:
    """Return the help of a verb, and of the verbs below it."""
    context = click.Context(
        command, parent, info_name=name, terminal_width=80, max_content_width=80
    )
    lines = ["", f"## {name}", "", "```text", command.get_help(context), "```"]
    if isinstance(command, click.Group):
        for child, below in command.commands.items():
            lines += section(below, f"{name} {child}", parent)
    return lines


if __name__ == "__main__":
    PAGE.write_text(reference())
