"""The options that say which face is meant, shared by the verbs that look at one."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pentimento.session.faces import Where

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class _Numbers(click.ParamType):
    """Comma-separated numbers."""

    name = "numbers"

    def __init__(self, count: int) -> None:
        self._count = count

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        try:
            numbers = tuple(float(v) for v in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != self._count:
            self.fail(f"expected {self._count} numbers with commas, got {value!r}", param, ctx)
        return numbers


class _Points(click.ParamType):
    """`x,y` pairs with spaces between."""

    name = "points"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[float, ...], ...]:
        pair = _Numbers(2)
        return tuple(pair.convert(v, param, ctx) for v in str(value).split())


def face_options(command: CommandT) -> CommandT:
    """Add --face, --points, --box and --aligned to a command."""
    for option in reversed(
        (
            click.option(
                "--face", type=click.IntRange(1), default=1, show_default=True,
                help="Which face, the largest first.",
            ),
            click.option(
                "--points", type=_Points(), metavar="'X,Y X,Y X,Y'",
                help="Two eyes and the mouth in pixels (or eyes, nose, two mouth corners).",
            ),
            click.option(
                "--box", type=_Numbers(4), metavar="L,T,R,B",
                help="A box around the face, brows to chin.",
            ),
            click.option("--aligned", is_flag=True, help="The picture is already a face crop."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def where(
    face: int,
    points: tuple[tuple[float, float], ...] | None,
    box: tuple[float, float, float, float] | None,
    aligned: bool,
) -> Where:
    """Return what the options say."""
    return Where(face, points or (), box, aligned)
