"""Nothing is documented without running it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from pentimento import models
from pentimento.cli import VERBS, cli
from pentimento.systems.generate.portrait import Portrait, tiny
from pentimento.world.portraits import portrait

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with what the pages speak of."""
    folder = tmp_path_factory.mktemp("workshop")
    Image.fromarray(astronaut()[:256, 96:352]).save(folder / "photo.jpg", quality=95)
    for name in ("other.jpg", "ref.jpg"):
        Image.fromarray(portrait(7, 256).picture).save(folder / name, quality=95)
    models.save(Portrait(tiny()), folder / "runs" / "p1", "# A toy")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page, workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    for example in Sybil(parsers=[PythonCodeBlockParser()], path=str(ROOT)).parse(page).examples():
        example.evaluate()


def commands():
    for page in PAGES:
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in block.splitlines():
                if line.startswith("pentimento "):
                    yield pytest.param(line, id=f"{page.name}: {line[:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_name_verbs_and_options_that_exist(line, workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    for name in ("edited.png", "mask.png"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(name)
    for folder in ("faces", "runs/p1", "runs/parser"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = cli
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"{line}: no verb {name!r}"
        command = found
    command.make_context(line, words)  # raises on an unknown option or a bad value


def test_command_reference_is_current():
    # In a process of its own: click remembers in what context a verb was first asked for help.
    done = subprocess.run(
        [sys.executable, "-c", "import cli; print(cli.reference(), end='')"],
        cwd=ROOT / "docs", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (ROOT / "docs" / "cli.md").read_text() == done.stdout, "run `make docs`"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples_and_is_in_the_readme(verb):
    command = cli.get_command(click.Context(cli), verb)
    text = command.get_help(click.Context(command, info_name=verb))
    if isinstance(command, click.Group):
        text += "".join(
            c.get_help(click.Context(c, info_name=name)) for name, c in command.commands.items()
        )
    assert "Example" in text
    assert f"pentimento {verb}" in (ROOT / "README.md").read_text()


def test_changelog_speaks_of_this_version():
    import pentimento

    assert f"## {pentimento.__version__} " in (ROOT / "CHANGELOG.md").read_text()
