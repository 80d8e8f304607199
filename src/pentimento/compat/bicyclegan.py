"""Official BicycleGAN checkpoints (`latest_net_G.pth`, `_E.pth`, `_D.pth`, `_D2.pth`)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from pentimento.compat.official import KeyMap, State, fill, read_all, write_pth
from pentimento.errors import CheckpointError
from pentimento.systems.generate.bicyclegan import BicycleGAN, Config


def _generator(key: str) -> str:
    found = re.fullmatch(r"(down|up)\.(\d+)\.conv\.(.*)", key)
    assert found is not None
    way, n, rest = found[1], int(found[2]), found[3]
    # An activation comes first, but for the outermost level on the way down.
    place = 0 if (way, n) == ("down", 0) else 1
    return "model." + "submodule." * n + f"{way}.{place}.{rest}"


GENERATOR: Final = KeyMap("BicycleGAN's generator", _generator)


def _encoder(key: str) -> str:
    part, _, rest = key.partition(".")
    if part == "blocks":
        n, layer, tail = rest.split(".")
        place = {"conv1": "conv.2", "conv2": "conv.5.0", "shortcut": "shortcut.1"}[layer]
        return f"conv.{int(n) + 1}.{place}.{tail}"
    return {"first": "conv.0", "mean": "fc.0", "log_variance": "fcVar.0"}[part] + f".{rest}"


ENCODER: Final = KeyMap("BicycleGAN's encoder", _encoder)


def _critic(key: str) -> str:
    found = re.fullmatch(r"scales\.(\d)\.layers\.(\d+)\.(\d)\.(.*)", key)
    assert found is not None
    start = 0 if found[2] == "0" else 3 * int(found[2]) - 1
    return f"model_{found[1]}.{start + int(found[3])}.{found[4]}"


CRITIC: Final = KeyMap("BicycleGAN's critic", _critic)


# --- whole models ---------------------------------------------------------------------------------

_ENDS: Final = {"generator": "G", "encoder": "E", "critic_encoded": "D", "critic_drawn": "D2"}
_KEYS: Final = {"G": GENERATOR, "E": ENCODER, "D": CRITIC, "D2": CRITIC}


def is_generator(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a state, made `plain`, is BicycleGAN's U-Net that sees the style everywhere."""
    return "model.down.0.weight" in state


def _infer(states: Mapping[str, State]) -> dict[str, Any]:
    g = states["G"]
    width, seen = g["model.down.0.weight"].shape[:2]
    style = g["model.submodule.down.1.weight"].shape[1] - width
    fields: dict[str, Any] = {
        "style": style,
        "in_channels": seen - style,
        "out_channels": g["model.up.1.weight"].shape[1],
        "width": width,
        "depth": 1 + max(key.count("submodule.") for key in g),
    }
    if e := states.get("E"):
        if "conv.0.weight" not in e or "fc.0.weight" not in e:
            raise CheckpointError("the encoder's file is not of the residual encoder resnet_256")
        fields["encoder_width"] = e["conv.0.weight"].shape[0]
        fields["encoder_blocks"] = sum(key.endswith("shortcut.1.weight") for key in e)
    if d := states.get("D") or states.get("D2"):
        fields["critic_width"] = d["model_0.0.weight"].shape[0]
        convs = [key for key, value in d.items() if key.startswith("model_0") and value.ndim == 4]
        fields["critic_layers"] = len(convs) - 2
    side = 2 ** max(fields["depth"], fields.get("encoder_blocks", 4) + 2)
    return fields | {"size": side, "load_size": round(side * 286 / 256)}


def from_files(files: Mapping[str, Path]) -> tuple[BicycleGAN, dict[str, str]]:
    """Build the system of official files: ending (`G`, and perhaps `E`, `D`, `D2`) → file.

    Networks whose files are missing are left out.

    Returns:
        The system with its weights, and what was dropped or assumed: key or field → why.

    Raises:
        CheckpointError: the files are not of these networks.
    """
    files = {end: file for end, file in files.items() if end in _KEYS}
    states, notes = read_all(files)
    system = BicycleGAN(Config(**_infer(states)))
    for name, end in _ENDS.items():
        if end in files:
            fill(system.networks[name], _KEYS[end], states[end], files[end])
        else:
            del system.networks[name]
    if "E" not in files:
        notes["encoder"] = "none: styles can be drawn, but not borrowed from a picture"
    return system, notes


def to_files(system: BicycleGAN, folder: Path, epoch: str) -> list[Path]:
    """Write a system's networks as the official code saves them; return the files."""
    return [
        write_pth(network, _KEYS[_ENDS[name]], folder, epoch, _ENDS[name])
        for name, network in system.networks.items()
    ]
