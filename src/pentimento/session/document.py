"""A document: a photo, the face that is meant, and the commands laid on it.

Documents are immutable values. They name pictures and masks by strings (paths, or keys of an
`Assets` store), so a document is small, can be written as JSON and replayed: the same document
and the same files give the same picture. Commands on different regions may come in any order;
on one region the later wins, reshapes apply after swaps, and paint covers them all.
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from pentimento.errors import PentimentoError
from pentimento.labels import REGIONS
from pentimento.session.faces import LARGEST, Where

FORMAT: Final = 1


@dataclass(frozen=True)
class Reshape:
    """Change shapes: paint every pixel whose label differs from the parse as its new class.

    Attributes:
        mask: names a label map of the photo's size, or of the aligned face's.
    """

    mask: str
    verb: Literal["reshape"] = field(default="reshape", init=False)


@dataclass(frozen=True)
class Swap:
    """Take the shape and the look of a region from another picture.

    Attributes:
        region: one of `labels.REGIONS`.
        other: names the other picture.
        where: which face of it.
        amount: how much of the other shows: 0 keeps the own region, 1 takes the other's.
    """

    region: str
    other: str
    where: Where = LARGEST
    amount: float = 1.0
    verb: Literal["swap"] = field(default="swap", init=False)

    def __post_init__(self) -> None:
        """Refuse a region that does not exist and an amount outside [0, 1]."""
        check_region(self.region)
        _check_amount(self)


@dataclass(frozen=True)
class Restyle:
    """Take the look of a region, not its shape, from a reference picture.

    Attributes:
        region: one of `labels.REGIONS`.
        reference: names the reference picture.
        amount: 0 keeps the own look, 1 takes the reference's.
        where: which face of it.
    """

    region: str
    reference: str
    amount: float = 1.0
    where: Where = LARGEST
    verb: Literal["restyle"] = field(default="restyle", init=False)

    def __post_init__(self) -> None:
        """Refuse a region that does not exist and an amount outside [0, 1]."""
        check_region(self.region)
        _check_amount(self)


@dataclass(frozen=True)
class Mirror:
    """Take a part that faces have twice from the other side of the same face, mirrored.

    Attributes:
        region: the part that changes, one of `MIRRORED`.
    """

    region: str
    verb: Literal["mirror"] = field(default="mirror", init=False)

    def __post_init__(self) -> None:
        """Refuse a region that has no other side."""
        if self.region not in MIRRORED:
            raise PentimentoError(f"mirror takes one of {', '.join(MIRRORED)}; got {self.region!r}")


@dataclass(frozen=True)
class Paint:
    """Lay a painted layer over everything else: what a brush did.

    Attributes:
        layer: names a square label map of the face's frame; `IGNORE` where nothing was painted.
    """

    layer: str
    verb: Literal["paint"] = field(default="paint", init=False)


Command: TypeAlias = Reshape | Swap | Restyle | Mirror | Paint
_COMMANDS: Final[dict[str, type[Any]]] = {
    "reshape": Reshape, "swap": Swap, "restyle": Restyle, "mirror": Mirror, "paint": Paint,
}  # fmt: skip
MIRRORED: Final = ("left_eye", "right_eye", "left_brow", "right_brow")
"""Regions that have a counterpart on the other side of the face."""


def _check_amount(command: Swap | Restyle) -> None:
    if not 0 <= command.amount <= 1:
        raise PentimentoError(f"{command.verb} takes an amount from 0 to 1, got {command.amount:g}")


def check_region(region: str) -> None:
    """Raise a PentimentoError that lists the regions if there is none of that name."""
    if region not in REGIONS:
        raise PentimentoError(f"no region is called {region!r}; there are {', '.join(REGIONS)}")


@dataclass(frozen=True)
class Document:
    """An edit as a value.

    Attributes:
        photo: names the picture that is edited.
        where: which of its faces.
        commands: in the order they were given.
    """

    photo: str
    where: Where = LARGEST
    commands: tuple[Command, ...] = ()

    def then(self, command: Command) -> "Document":
        """Return the document with one more command."""
        return replace(self, commands=(*self.commands, command))

    def undone(self) -> "Document":
        """Return the document without its last command."""
        return replace(self, commands=self.commands[:-1])

    def pictures(self) -> tuple[str, ...]:
        """Return the names of the photo and of every other picture, each once."""
        others = [c.other for c in self.commands if isinstance(c, Swap)]
        others += [c.reference for c in self.commands if isinstance(c, Restyle)]
        return tuple(dict.fromkeys([self.photo, *others]))

    def masks(self) -> tuple[str, ...]:
        """Return the names of its masks and painted layers, each once."""
        given = [c.mask for c in self.commands if isinstance(c, Reshape)]
        given += [c.layer for c in self.commands if isinstance(c, Paint)]
        return tuple(dict.fromkeys(given))

    def to_json(self) -> str:
        """Return the document as JSON text."""
        return json.dumps(
            {
                "format": FORMAT,
                "photo": self.photo,
                **_where_json(self.where),
                "commands": [command_json(command) for command in self.commands],
            },
            indent=2,
        )

    @staticmethod
    def from_json(text: str) -> "Document":
        """Read what `to_json` wrote.

        Raises:
            PentimentoError: the text is no such document.
        """
        try:
            read = json.loads(text)
            if read["format"] != FORMAT:
                raise PentimentoError(
                    f"the document has format {read['format']}, this version reads {FORMAT}"
                )
            commands = tuple(parse_command(item) for item in read["commands"])
            return Document(read["photo"], _where(read.get("where", {})), commands)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PentimentoError(f"this is no edit document: {error!r}") from error


def _where_json(where: Where) -> dict[str, Any]:
    """Return {"where": …}, or nothing for the default."""
    said = {k: v for k, v in vars(where).items() if v != getattr(LARGEST, k)}
    return {"where": said} if said else {}


def command_json(command: Command) -> dict[str, Any]:
    """Return a command as plain values."""
    values = {k: v for k, v in vars(command).items() if k not in ("verb", "where")}
    where = getattr(command, "where", LARGEST)
    return {"verb": command.verb, **values, **_where_json(where)}


def parse_command(item: dict[str, Any]) -> Command:
    """Read what `command_json` gave.

    Raises:
        PentimentoError: this is no command.
    """
    try:
        values = {k: v for k, v in item.items() if k not in ("verb", "where")}
        if "where" in item:
            values["where"] = _where(item["where"])
        command: Command = _COMMANDS[item["verb"]](**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PentimentoError(f"this is no command of an edit: {error!r}") from error
    return command


def _where(said: dict[str, Any]) -> Where:
    values = dict(said)
    if "points" in values:
        values["points"] = tuple((float(x), float(y)) for x, y in values["points"])
    if values.get("box") is not None:
        left, top, right, bottom = (float(v) for v in values["box"])
        values["box"] = (left, top, right, bottom)
    return Where(**values)
