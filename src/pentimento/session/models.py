"""The models an editor works with: the bundled ones, or a folder that the person names."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from pentimento.errors import CheckpointError

_BUNDLED: Final = Path(__file__).resolve().parent.parent / "weights"


def bundled(name: str) -> Path | None:
    """Return the folder of weights that ship under a name, or None while there are none."""
    folder = _BUNDLED / name
    return folder if (folder / "config.json").is_file() else None


def load_parser(folder: str | Path | None = None) -> Any:
    """Load a face parser: from a model or run folder, or the bundled one.

    Raises:
        CheckpointError: the folder holds another kind of model, or no weights are bundled.
    """
    return _load("face_parsing", folder, "--parser")


@cache  # every picture asks for it
def load_finder(folder: str | Path | None = None) -> Any:
    """Load a face finder: from a model or run folder, or the bundled one.

    Raises:
        CheckpointError: as for `load_parser`, or it finds no points.
    """
    finder = _load("retinaface", folder, "--finder", "face_finder")
    if not finder.config.points:
        raise CheckpointError(
            f"{folder} finds boxes alone; --finder needs the five points of faces, too: train it "
            "with --set points=true"
        )
    return finder


def load_portrait(folder: str | Path | None = None) -> Any:
    """Load a portrait generator: from a model or run folder, or the bundled one.

    Raises:
        CheckpointError: as for `load_parser`.
    """
    import torch

    portrait = _load("portrait", folder, "--model")
    portrait.networks.to(memory_format=torch.channels_last)  # a quarter less time on a CPU
    return portrait


def load_landmarks(folder: str | Path | None = None) -> Any:
    """Load a 68-point landmark model: from a model or run folder, or the bundled one.

    Raises:
        CheckpointError: as for `load_parser`, or it has other points.
    """
    marker = _load("landmarks", folder, "--landmarks", also=("hourglass",))
    if marker.config.points != 68:
        raise CheckpointError(
            f"{folder} has {marker.config.points} points; --landmarks needs the 68 of 300-W"
        )
    return marker


def _load(
    system: str,
    folder: str | Path | None,
    option: str,
    name: str | None = None,
    also: tuple[str, ...] = (),
) -> Any:
    from pentimento import catalog, models

    place = Path(folder) if folder is not None else bundled(name or system)
    if place is None:
        raise CheckpointError(
            f"this installation carries no {system} weights. Train some (`pentimento train "
            f"{system} --data world --out runs/x`) and name the folder with {option} runs/x."
        )
    loaded = models.load(place)
    if (found := catalog.name_of(type(loaded))) not in (system, *also):
        wanted = " or ".join((system, *also))
        raise CheckpointError(f"{place} holds a {found} model; {option} needs {wanted}")
    return loaded
