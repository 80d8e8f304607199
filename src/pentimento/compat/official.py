"""Official checkpoints: key maps that work both ways, and files read as plain tensors only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pentimento.errors import CheckpointError

State = dict[str, Tensor]


def _nothing(ours: Mapping[str, Tensor]) -> State:
    return {}


@dataclass(frozen=True)
class KeyMap:
    """The names that one of our networks has in the official files.

    Attributes:
        network: what errors call it.
        official: our key → the official one.
        unused: from our state to the official entries that have no effect (constant filters,
            running averages that nothing reads).
    """

    network: str
    official: Callable[[str], str]
    unused: Callable[[Mapping[str, Tensor]], State] = _nothing

    def to_official(self, ours: Mapping[str, Tensor]) -> State:
        """Rename our state; entries without effect are added."""
        return {self.official(key): tensor for key, tensor in ours.items()} | self.unused(ours)

    def from_official(self, official: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> State:
        """Rename an official state for the network whose present state is `ours`; strict.

        Raises:
            CheckpointError: a key is missing, unknown, or of another shape; the message names it.
        """
        names = {self.official(key): key for key in ours}
        unknown = official.keys() - names.keys() - self.unused(ours).keys()
        missing = names.keys() - official.keys()
        if unknown or missing:
            raise CheckpointError(
                f"this is not a checkpoint of {self.network} of this size: "
                f"unknown keys {sorted(unknown)[:3]}, missing keys {sorted(missing)[:3]}"
            )
        for name, key in names.items():
            if official[name].shape != ours[key].shape:
                raise CheckpointError(
                    f"{self.network}: {name} has shape {tuple(official[name].shape)} in the file, "
                    f"{tuple(ours[key].shape)} here; choose the preset of the file's size"
                )
        return {key: official[name] for name, key in names.items()}


def read_pth(path: Path, wrappers: Sequence[str] = ("state_dict",)) -> State:
    """Read a legacy `.pth` of plain tensors; nothing in it is executed.

    A leading `module.` of the keys (nn.DataParallel) is removed.

    Args:
        path: the file.
        wrappers: entries under which the tensors may lie; the first that is there counts.

    Raises:
        CheckpointError: the file cannot be read, or holds something else than tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        raise CheckpointError(f"{path}: cannot be read as plain tensors ({error})") from error
    if isinstance(content, dict):
        content = next((content[key] for key in wrappers if key in content), content)
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, nothing else")
    state = {key.removeprefix("module."): tensor for key, tensor in content.items()}
    if len(state) != len(content):
        raise CheckpointError(f"{path}: has keys with and without `module.`; it holds two networks")
    return state
