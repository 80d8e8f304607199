"""Official checkpoints of Mask-Guided Portrait Editing: `latest_net_<X>.pth`, one network a file.

The official files call the eye on the picture's left "left"; here left is the subject's, so that
`encoder_left_eye` becomes the right eye's encoder. Nothing else than names changes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from pentimento.errors import CheckpointError

State = Mapping[str, Tensor]
Pairs = list[tuple[str, str]]

_SIDES: Final = {
    "left_eye": "right_eye", "right_eye": "left_eye", "mouth": "mouth", "skin": "skin",
    "hair": "hair",
}  # fmt: skip


# Each table lists (our prefix, official prefix) in the order of the official keys.


def _generator() -> Pairs:
    return [
        ("label_encoder.", "downsample_model."),
        ("painter.0.", "model.0."),
        *((f"painter.{n}.layers.", f"model.{n}.conv_block.") for n in range(1, 10)),
        ("painter.", "model."),
        ("background_encoder.", "bg_encoder."),
        ("fuse.", "bg_decoder."),
    ]


def _critic() -> Pairs:
    # The official `scale1` sees the full resolution.
    return [
        (f"scales.{1 - n}.layers.{i}.", f"scale{n}_layer{i}.") for n in range(2) for i in range(5)
    ]


def _encoder(blocks: int) -> Pairs:
    layers = [
        (f"blocks.{n}.{i}.", f"conv.{n}.{name}.")
        for n in range(blocks)
        for i, name in enumerate(("conv", "bn"))
    ]
    return [*layers, ("mean.", "fc_mu."), ("log_variance.", "fc_var.")]


def _decoder(blocks: int) -> Pairs:
    return [
        ("lift.", "fc.0."),
        *((f"blocks.{n}.", f"conv.{n}.conv.") for n in range(blocks)),
        ("paint.1.", f"conv.{blocks + 1}."),
    ]


def _parser() -> Pairs:
    down = [("down.0.0.", "model.model.0.")]
    up = [("up.0.0.", "model.model.3.")]
    inside = "model.model.1.model."
    for n in range(1, 6):
        lift = 3 if n == 5 else 5  # the innermost level has no sub-module between
        down += [(f"down.{n}.{i}.", f"{inside}{i + 1}.") for i in range(2)]
        up = [(f"up.{n}.{i}.", f"{inside}{lift + i}.") for i in range(2)] + up
        inside += "3.model."
    return down + up


def _networks() -> dict[str, tuple[str, Pairs]]:
    """Official file stem X → our network's path in `Portrait.networks`, and its key prefixes."""
    table = {
        "G": ("generator.", _generator()),
        "D": ("critic_paired.", _critic()),
        "D2": ("critic_unpaired.", _critic()),
        "P": ("parser.", _parser()),
    }
    for theirs, ours in _SIDES.items():
        whole = ours in ("skin", "hair")
        table[f"encoder_{theirs}"] = (f"encoders.parts.{ours}.", _encoder(7 if whole else 4))
        table[f"decoder_{theirs}"] = (f"decoders.parts.{ours}.", _decoder(5 if whole else 2))
        table[f"decoder_{theirs}_image"] = (
            f"picture_decoders.parts.{ours}.",
            _decoder(7 if whole else 4),
        )
    return table


NETWORKS: Final = _networks()


def _rename(network: str, state: State, pairs: Pairs) -> dict[str, Tensor]:
    """Replace prefixes; the result follows the order of `pairs`."""
    found: list[tuple[int, str, Tensor]] = []
    for key, value in state.items():
        for place, (old, new) in enumerate(pairs):
            if key.startswith(old):
                found.append((place, new + key.removeprefix(old), value))
                break
        else:
            raise CheckpointError(
                f"network {network}: {key!r} is no parameter of mask-guided portrait editing; is "
                f"this file another project's, or another version's?"
            )
    return {key: value for _, key, value in sorted(found, key=lambda item: item[0])}


def to_official(network: str, state: State) -> dict[str, Tensor]:
    """Rename the state of one of our networks to the keys of `latest_net_<network>.pth`."""
    return _rename(network, state, NETWORKS[network][1])


def from_official(network: str, state: State) -> dict[str, Tensor]:
    """Rename the official keys of `latest_net_<network>.pth` to ours.

    Raises:
        CheckpointError: a key is not one of the official network's.
    """
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    return _rename(network, bare, [(theirs, ours) for ours, theirs in NETWORKS[network][1]])


def read_official(folder: Path) -> dict[str, Tensor]:
    """Read the official files of a folder into one state for `Portrait.networks`.

    Networks whose file is missing are missing in the result; the parser's keys start with
    `parser.`. Files are read without executing anything in them.

    Raises:
        CheckpointError: no official file is there, or one of them cannot be read or used.
    """
    state: dict[str, Tensor] = {}
    for network, (path, _) in NETWORKS.items():
        file = folder / f"latest_net_{network}.pth"
        if not file.is_file():
            continue
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for damaged files
            raise CheckpointError(f"{file}: cannot be read as plain tensors ({error})") from error
        if not isinstance(content, dict) or not all(
            isinstance(value, Tensor) for value in content.values()
        ):
            raise CheckpointError(f"{file}: expected a plain dictionary of tensors")
        state |= {path + key: value for key, value in from_official(network, content).items()}
    if not state:
        raise CheckpointError(
            f"{folder}: no latest_net_<X>.pth file here, X being one of {', '.join(NETWORKS)}"
        )
    return state
