"""Official checkpoints of fast neural style (the PyTorch examples): candy, mosaic and their kin."""

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from pentimento.compat.official import KeyMap, State
from pentimento.systems.generate.style_transfer import LAST_UNIT, Config, StyleTransfer

_NAMES: Final = {
    "first": ("conv1", "in1"), "down.0": ("conv2", "in2"), "down.1": ("conv3", "in3"),
    "up.0": ("deconv1", "in4"), "up.1": ("deconv2", "in5"),
}  # fmt: skip
_LAST: Final = "deconv3."
_STATISTICS: Final = re.compile(r"in\d\.(running_(mean|var)|num_batches_tracked)$")


def _official(key: str) -> str:
    if found := re.fullmatch(r"blocks\.(\d+)\.(first|second)\.(conv|norm)\.(.*)", key):
        n, which = int(found[1]) + 1, 1 if found[2] == "first" else 2
        layer = f"conv{which}.conv2d" if found[3] == "conv" else f"in{which}"
        return f"res{n}.{layer}.{found[4]}"
    part, _, rest = key.rpartition(".")
    if part == "last":
        return f"deconv3.conv2d.{rest}"
    place, _, layer = part.rpartition(".")
    conv, norm = _NAMES[place]
    return f"{conv}.conv2d.{rest}" if layer == "conv" else f"{norm}.{rest}"


_NAMES_ONLY: Final = KeyMap("fast neural style's transformer", _official)


def to_official(ours: Mapping[str, Tensor]) -> State:
    """Return our transformer's state under the official names and in the official units."""
    state = _NAMES_ONLY.to_official(ours)
    return {k: v * LAST_UNIT if k.startswith(_LAST) else v for k, v in state.items()}


def to_ours(official: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> State:
    """Return an official state for the transformer whose present state is `ours`; strict.

    Raises:
        CheckpointError: a key is missing, unknown, or of another shape.
    """
    state = _NAMES_ONLY.from_official(official, ours)
    # The unit is a power of two: nothing is rounded on the way or back.
    return {k: v / LAST_UNIT if k.startswith("last.") else v for k, v in state.items()}


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Tell whether an official state dict is one of fast neural style."""
    return {"conv1.conv2d.weight", "deconv3.conv2d.weight"} <= state.keys()


def from_official(state: Mapping[str, Tensor]) -> tuple[StyleTransfer, dict[str, str]]:
    """Build the system of an official state dict.

    Returns:
        The system with its weights, and what was dropped: key → why.

    Raises:
        CheckpointError: a key is missing or unknown.
    """
    kept: State = {key: value for key, value in state.items() if not _STATISTICS.search(key)}
    why = "dropped: running statistics that old InstanceNorm kept and never used"
    notes = dict.fromkeys(state.keys() - kept.keys(), why)
    blocks = len({key.split(".")[0] for key in kept if key.startswith("res")})
    notes["style"] = "the file does not tell; painting:0 stands in and is not used to paint"
    system = StyleTransfer(Config(width=len(kept["conv1.conv2d.weight"]), blocks=blocks))
    network = system.networks["transformer"]
    network.load_state_dict(to_ours(kept, network.state_dict()))
    network.eval()
    return system, notes
