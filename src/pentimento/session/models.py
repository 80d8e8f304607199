"""The models an editor works with: the bundled ones, or a folder that the person names."""

from functools import cache
from itertools import pairwise
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

    It is for looking alone: its batch norms are part of its convolutions.

    Raises:
        CheckpointError: as for `load_parser`, or it finds no points.
    """
    finder = _load("retinaface", folder, "--finder", "face_finder")
    if not finder.config.points:
        raise CheckpointError(
            f"{folder} finds boxes alone; --finder needs the five points of faces, too: train it "
            "with --set points=true"
        )
    _fold(finder.networks.eval())
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


def _fold(networks: Any) -> None:
    """Make batch norms part of the convolutions before them: the same answers a third sooner."""
    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in [each for each in networks.modules() if isinstance(each, nn.Sequential)]:
        for number, (first, second) in enumerate(pairwise(list(block))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                block[number] = fuse_conv_bn_eval(first, second)
                block[number + 1] = nn.Identity()
    networks.to(memory_format=torch.channels_last)


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
