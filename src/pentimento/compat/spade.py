"""Official SPADE checkpoints: `latest_net_G.pth`, and `_E.pth` and `_D.pth` beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from pentimento.compat.official import KeyMap, State, fill, read_pth, write_pth
from pentimento.errors import CheckpointError
from pentimento.systems.generate.spade import SPADE, Config

_BLOCKS: Final = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
_INSIDE: Final = {
    "norm": "param_free_norm", "shared": "mlp_shared.0", "gain": "mlp_gamma", "shift": "mlp_beta",
}  # fmt: skip


def _generator(key: str) -> str:
    part, _, rest = key.partition(".")
    if part != "blocks":
        return f"{'fc' if part == 'first' else 'conv_img'}.{rest}"
    n, layer, tail = rest.split(".", 2)
    if layer.startswith("norm"):
        inside, _, tail = tail.partition(".")
        layer = f"{layer}.{_INSIDE[inside]}"
    return f"{_BLOCKS[int(n)]}.{layer}.{tail}"


def _encoder(key: str) -> str:
    part, _, rest = key.partition(".")
    if part == "layers":
        n, _, tail = rest.partition(".")
        return f"layer{int(n) + 1}.{tail}"
    return f"{'fc_mu' if part == 'mean' else 'fc_var'}.{rest}"


def _critic(key: str) -> str:
    _, scale, layer, place, tail = key.split(".", 4)
    spectral = ".0" if tail in ("weight_orig", "weight_u", "weight_v") else ""
    return f"discriminator_{scale}.model{layer}.{place}{spectral}.{tail}"


GENERATOR: Final = KeyMap("SPADE's generator", _generator)
ENCODER: Final = KeyMap("SPADE's encoder", _encoder)
CRITIC: Final = KeyMap("SPADE's critic", _critic)

_KEYS: Final = {"G": GENERATOR, "E": ENCODER, "D": CRITIC}
_NETWORKS: Final = {"G": "generator", "E": "encoder", "D": "critic"}
_PLANES: Final[Mapping[int, dict[str, Any]]] = {
    36: {"classes": 35, "unknown": False, "edges": True, "doublings": 6, "size": (256, 512)},
    151: {"classes": 150, "unknown": True, "edges": False, "doublings": 5, "size": (256, 256)},
    184: {"classes": 182, "unknown": True, "edges": True, "doublings": 5, "size": (256, 256)},
}
"""Planes of a label map → the published model that has as many: Cityscapes, ADE20K, COCO-Stuff."""
_SEEN: Final = "head_0.norm_0.mlp_shared.0.weight"


def is_generator(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is SPADE's generator, going by its keys."""
    return _SEEN in state


def _infer(states: Mapping[str, State]) -> tuple[dict[str, Any], dict[str, str]]:
    g = states["G"]
    hidden, seen = g[_SEEN].shape[:2]
    told = "the keys tell the planes of a label map, not which they are; --set others that sum up"
    if seen in _PLANES:
        fields = dict(_PLANES[seen])
    else:
        fields = {"classes": seen - 1, "unknown": False, "edges": True}
        fields |= {"doublings": 5, "size": (256, 256)}
    fields |= {"width": g["conv_img.weight"].shape[1], "hidden": hidden}
    notes = {
        "classes, unknown, edges": f"assumed for {seen} planes: {told}",
        "doublings, size": "assumed: files of 5 and of 6 doublings have the same keys",
    }
    if g["fc.weight"].ndim == 2:
        coarse, style = g["fc.weight"].shape
        cells = coarse // (16 * fields["width"])
        for wide in (1, 2):  # square pictures, or those of Cityscapes
            side = round((cells / wide) ** 0.5)
            if wide * side**2 == cells:
                fields["size"] = tuple(n * side << fields["doublings"] for n in (1, wide))
        fields["style"] = style
    if "E" in states:
        fields["encoder_width"] = states["E"]["layer1.0.weight_orig"].shape[0]
    if "D" in states:
        fields["critic_width"] = states["D"]["discriminator_0.model0.0.weight"].shape[0]
    return fields, notes


def from_files(files: Mapping[str, Path]) -> tuple[SPADE, dict[str, str]]:
    """Build the system of official files: ending (`G`, and perhaps `E` and `D`) → file.

    Networks whose files are missing are left out.

    Returns:
        The system with its weights, and what was dropped or assumed: key or field → why.

    Raises:
        CheckpointError: the files do not fit each other, or are not of these networks.
    """
    files = {end: file for end, file in files.items() if end in _KEYS}
    # Not brought to today's keys: these running statistics have no weights beside them, and count.
    states = {end: read_pth(file) for end, file in files.items()}
    try:
        fields, notes = _infer(states)
        system = SPADE(Config(**fields))
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{files['G']}: not SPADE's networks as published ({error})"
        ) from None
    if "E" in files and not fields.get("style"):
        raise CheckpointError(f"{files['E']} stands beside a generator that takes no style")
    for end, name in _NETWORKS.items():
        if end in files:
            fill(system.networks[name], _KEYS[end], states[end], files[end])
        elif name in system.networks:
            del system.networks[name]
    if fields.get("style") and "E" not in files:
        notes["encoder"] = "none: styles can be drawn, but not borrowed from a picture"
    return system, notes


def to_files(system: SPADE, folder: Path, epoch: str) -> list[Path]:
    """Write a system's networks as the official code saves them; return the files."""
    return [
        write_pth(system.networks[name], _KEYS[end], folder, epoch, end)
        for end, name in _NETWORKS.items()
        if name in system.networks
    ]
