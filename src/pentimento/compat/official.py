"""Official checkpoints: key maps that work both ways, and files read as plain tensors only."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from pentimento.errors import CheckpointError

State = dict[str, Tensor]

_PREFIXES: Final = re.compile(r"^(?:module\.|_orig_mod\.)+")
_BUFFERS: Final = ("running_mean", "running_var", "num_batches_tracked")


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
        raise CheckpointError(
            f"{path}: cannot be read as plain tensors ({type(error).__name__}); it is damaged, no "
            "checkpoint, or holds code, which is never run"
        ) from error
    if isinstance(content, dict):
        content = next((content[key] for key in wrappers if key in content), content)
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, nothing else")
    state = {key.removeprefix("module."): tensor for key, tensor in content.items()}
    if len(state) != len(content):
        raise CheckpointError(f"{path}: has keys with and without `module.`; it holds two networks")
    return state


def plain(official: Mapping[str, Tensor]) -> tuple[State, dict[str, str]]:
    """Bring a state dict of any age to today's keys.

    Returns:
        The state without the prefixes of wrappers, and what was dropped or added: key → why.
    """
    state = {_PREFIXES.sub("", key): tensor for key, tensor in official.items()}
    if len(state) != len(official):
        raise CheckpointError(
            "keys of the file differ only in `module.` or `_orig_mod.`: it holds two networks"
        )
    notes = {}
    for key in list(state):
        layer, _, name = key.rpartition(".")
        if name in _BUFFERS and f"{layer}.weight" not in state:
            del state[key]
            notes[key] = "dropped: running statistics that old InstanceNorm kept and never used"
    for key in [key for key in state if key.endswith(".running_mean")]:
        counter = key.replace("running_mean", "num_batches_tracked")
        if counter not in state:
            state[counter] = torch.tensor(0)
            notes[counter] = (
                "added: a counter that files before PyTorch 0.4.1 lack; nothing uses it"
            )
    return state, notes


def read_all(files: Mapping[str, Path]) -> tuple[dict[str, State], dict[str, str]]:
    """Read files of networks of any age: name → state, and what was dropped or added → why."""
    states: dict[str, State] = {}
    notes: dict[str, str] = {}
    for name, file in files.items():
        states[name], found = plain(read_pth(file))
        notes |= {f"{file.name}: {key}": why for key, why in found.items()}
    return states, notes


def fill(network: nn.Module, keys: KeyMap, state: Mapping[str, Tensor], file: Path) -> None:
    """Give a network an official state, strictly; the error names the file."""
    try:
        network.load_state_dict(keys.from_official(state, network.state_dict()))
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    network.eval()


def write_pth(network: nn.Module, keys: KeyMap, folder: Path, epoch: str, ending: str) -> Path:
    """Write a network as the official code does: a bare state dict `<epoch>_net_<ending>.pth`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{epoch}_net_{ending}.pth"
    state = keys.to_official(network.state_dict())
    torch.save({key: tensor.cpu().clone() for key, tensor in state.items()}, path)
    return path
