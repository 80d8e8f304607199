"""The models an editor works with: the bundled ones, or a folder that the person names."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.errors import CheckpointError
from pentimento.ops.warp import Float

_BUNDLED: Final = Path(__file__).resolve().parent.parent / "weights"


def bundled(system: str) -> Path | None:
    """Return the folder of the weights that ship for a system, or None while there are none."""
    folder = _BUNDLED / system
    return folder if (folder / "config.json").is_file() else None


class FaceParser:
    """A trained `face_parsing` system as `session.faces.Parser`."""

    def __init__(self, system: Any) -> None:
        """Take a loaded system."""
        self._system = system
        self.size = int(system.config.size)

    def probabilities(self, image: NDArray[np.uint8]) -> Float:
        """Return (19, S, S) class probabilities of an aligned crop (S, S, 3)."""
        return np.asarray(self._system.probabilities(image), np.float32)


def load_parser(folder: str | Path | None = None) -> FaceParser:
    """Load a face parser: from a model or run folder, or the bundled one.

    Raises:
        CheckpointError: the folder holds another kind of model, or no weights are bundled.
    """
    return FaceParser(_load("face_parsing", folder, "--parser"))


def load_portrait(folder: str | Path | None = None) -> Any:
    """Load a portrait generator: from a model or run folder, or the bundled one.

    Raises:
        CheckpointError: as for `load_parser`.
    """
    return _load("portrait", folder, "--model")


def _load(system: str, folder: str | Path | None, option: str) -> Any:
    from pentimento import catalog, models

    place = Path(folder) if folder is not None else bundled(system)
    if place is None:
        raise CheckpointError(
            f"this installation carries no {system} weights. Train some (`pentimento train "
            f"{system} --data world --out runs/x`) and name the folder with {option} runs/x."
        )
    loaded = models.load(place)
    if catalog.name_of(type(loaded)) != system:
        raise CheckpointError(
            f"{place} holds a {catalog.name_of(type(loaded))} model; {option} needs {system}"
        )
    return loaded
