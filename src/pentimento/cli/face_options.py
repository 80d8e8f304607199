"""The options that say which face is meant, shared by the verbs that look at one."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pentimento.session.faces import Where

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def _numbers(text: str, count: int) -> tuple[float, ...]:
    """Return `count` comma-separated numbers; click reports what came instead."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise click.BadParameter(f"expected {count} numbers with commas between, got {text!r}")
    return numbers


def _box(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    return None if text is None else _numbers(text, 4)


def _points(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[tuple[float, ...], ...]:
    return tuple(_numbers(pair, 2) for pair in (text or "").split())


def face_options(command: CommandT) -> CommandT:
    """Add --face, --points, --box and --aligned to a command."""
    for option in (
        click.option("--aligned", is_flag=True, help="The picture is already a face crop."),
        click.option(
            "--box", callback=_box, metavar="L,T,R,B", help="A box around the face, brows to chin."
        ),
        click.option(
            "--points",
            callback=_points,
            metavar="'X,Y X,Y X,Y'",
            help="Two eyes and the mouth in pixels (or eyes, nose, two mouth corners).",
        ),
        click.option(
            "--face",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Which face, the largest first.",
        ),
    ):
        command = option(command)
    return command


def where(face: int, points: Any, box: Any, aligned: bool) -> Where:
    """Return what the options say."""
    return Where(face, points, box, aligned)
