"""Official checkpoints of Mask-Guided Portrait Editing: `latest_net_<X>.pth`, one network a file.

The official files call the eye on the picture's left "left"; here left is the subject's, so that
`encoder_left_eye` becomes the right eye's encoder. Nothing else than names changes.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from pentimento import models
from pentimento.compat.official import read_pth
from pentimento.errors import CheckpointError
from pentimento.systems.generate.portrait import Portrait, paper

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


def recognises(folder: Path, epoch: str = "latest") -> bool:
    """Tell whether a folder holds this system's files, going by their names."""
    return (folder / f"{epoch}_net_encoder_hair.pth").is_file()


def read_official(folder: Path, epoch: str = "latest") -> dict[str, Tensor]:
    """Read the official files of a folder into one state for `Portrait.networks`.

    Networks whose file is missing are missing in the result; the parser's keys start with
    `parser.`. Files are read without executing anything in them.

    Raises:
        CheckpointError: no official file is there, or one of them cannot be read or used.
    """
    state: dict[str, Tensor] = {}
    for network, (path, _) in NETWORKS.items():
        file = folder / f"{epoch}_net_{network}.pth"
        if file.is_file():
            found = from_official(network, read_pth(file))
            state |= {path + key: value for key, value in found.items()}
    if not state:
        raise CheckpointError(
            f"{folder}: no {epoch}_net_<X>.pth file here, X being one of {', '.join(NETWORKS)}"
        )
    return state


def from_folder(folder: Path, epoch: str = "latest") -> tuple[Portrait, dict[str, str]]:
    """Return the system of a folder of official files, and what was left out: name → why.

    Raises:
        CheckpointError: a file that painting needs is missing, or one is another network's.
    """
    state = read_official(folder, epoch)
    notes = {}
    if any(key.startswith("parser.") for key in state):
        state = {key: value for key, value in state.items() if not key.startswith("parser.")}
        notes["P"] = "left out: the parser judges training only, which --set parser=… can name anew"
    there = {key.partition(".")[0] for key in state}
    if missing := sorted({"generator", "encoders", "decoders"} - there):
        files = [f"{epoch}_net_{x}.pth" for x, (path, _) in NETWORKS.items()
                 if path.partition(".")[0] in missing]  # fmt: skip
        raise CheckpointError(f"{folder}: {', '.join(files)} are missing; painting needs them")
    code = next(value for key, value in state.items() if key.endswith(".mean.2.weight"))
    config = replace(
        paper(),
        width=state["generator.label_encoder.1.weight"].shape[0],
        code=code.shape[0],
        parser="none",
        perceptual="none",
    )
    if "critic_paired" in there:
        first = state["critic_paired.scales.0.layers.0.0.weight"]
        config = replace(config, critic_width=first.shape[0])
    system = Portrait(config)
    for name in [name for name in system.networks if name not in there]:
        del system.networks[name]
        notes[name] = "none: its file is not there, and only training needs it"
    models.restore(system.networks, state, str(folder))
    return system, notes


def to_files(system: Portrait, folder: Path, epoch: str) -> list[Path]:
    """Write a system's networks as the official code saves them; return the files.

    Raises:
        CheckpointError: it is no model of the paper's family.
    """
    if system.config.family != "paper":
        raise CheckpointError(
            "only portrait models of family=paper have an official form; this one keeps textures"
        )
    ours = models.weights(system.networks)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for network, (path, _) in NETWORKS.items():
        state = {k.removeprefix(path): v for k, v in ours.items() if k.startswith(path)}
        if state:
            files.append(folder / f"{epoch}_net_{network}.pth")
            named = to_official(network, state)
            torch.save(
                {key: value.detach().cpu().clone() for key, value in named.items()}, files[-1]
            )
    return files
