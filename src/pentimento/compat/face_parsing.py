"""Official face parsers: CelebAMask-HQ's U-Net, zllrunning's BiSeNet, and yakhyo's renamed one.

BiSeNet's files answer in their own class order; `from_official` moves the rows of the last layers
into CelebAMask-HQ order, `to_bisenet_order` moves them back.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from pentimento.compat.official import KeyMap, State, write_pth
from pentimento.errors import CheckpointError
from pentimento.labels import BISENET19, CELEBAMASK19
from pentimento.systems.perceive.face_parsing import BiSeNet, FaceParsing, UNet, bisenet, paper

_LAST_LAYERS: Final = ("out.1.weight", "out16.1.weight", "out32.1.weight")


def _unet(key: str) -> str:
    def place(match: re.Match[str]) -> str:
        part, level, index = match[1], int(match[2]), int(match[3])
        name = f"conv{level + 1}" if part == "encoders" else f"up_concat{4 - level}.conv"
        name = "center" if name == "conv5" else name
        return f"{name}.conv{index // 3 + 1}.{index % 3}."

    key = re.sub(r"^(encoders|decoders)\.(\d)\.(\d)\.", place, key)
    key = re.sub(r"^ups\.(\d)\.", lambda m: f"up_concat{4 - int(m[1])}.up.", key)
    return re.sub(r"^head\.", "final.", key)


def _bisenet(key: str) -> str:
    # A ConvBNReLU is a Sequential here and has names there.
    unit = {"0": "conv", "1": "bn"}
    key = re.sub(r"^backbone\.", "cp.resnet.", key)
    key = re.sub(r"^(arm16|arm32)\.conv\.([01])\.", lambda m: f"cp.{m[1]}.conv.{unit[m[2]]}.", key)
    key = re.sub(
        r"^(arm16|arm32)\.attention\.([01])\.", lambda m: f"cp.{m[1]}.{unit[m[2]]}_atten.", key
    )
    key = re.sub(r"^head(\d+)\.([01])\.", lambda m: f"cp.conv_head{m[1]}.{unit[m[2]]}.", key)
    key = re.sub(r"^average\.([01])\.", lambda m: f"cp.conv_avg.{unit[m[1]]}.", key)
    key = re.sub(r"^fusion\.conv\.([01])\.", lambda m: f"ffm.convblk.{unit[m[1]]}.", key)
    key = key.replace("fusion.squeeze.", "ffm.conv1.").replace("fusion.excite.", "ffm.conv2.")
    key = re.sub(r"^out(\d*)\.0\.([01])\.", lambda m: f"conv_out{m[1]}.conv.{unit[m[2]]}.", key)
    return re.sub(r"^out(\d*)\.1\.", r"conv_out\1.conv_out.", key)


def _yakhyo(key: str) -> str:
    key = _bisenet(key)
    key = key.replace("cp.resnet.", "fpn.backbone.").replace("cp.", "fpn.")
    key = re.sub(r"(arm\d+|conv_out\d*)\.conv\.(conv|bn)\.", r"\1.conv_block.\2.", key)
    key = key.replace(".convblk.", ".conv_block.").replace(".conv_out.", ".conv.")
    key = key.replace(".conv_atten.", ".attention.0.").replace(".bn_atten.", ".attention.1.")
    return key.replace(".bn.", ".norm.")


UNET: Final = KeyMap("the CelebAMask-HQ face parser", _unet)
"""For `face_parsing.UNet`."""

BISENET: Final = KeyMap("BiSeNet for faces", _bisenet)
"""For `face_parsing.BiSeNet`, class order apart."""

YAKHYO: Final = KeyMap("BiSeNet for faces (renamed)", _yakhyo)
"""For `face_parsing.BiSeNet`, class order apart."""


_FIRST: Final = {
    "conv1.conv1.0.weight": (paper, UNET),
    "cp.resnet.conv1.weight": (bisenet, BISENET),
    "fpn.backbone.conv1.weight": (bisenet, YAKHYO),
}
"""A key that only one of the three has → preset and key map."""


def recognises(official: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is one of the three parsers, going by its keys."""
    return any(key in official for key in _FIRST)


def from_official(official: Mapping[str, Tensor]) -> FaceParsing:
    """Return the system of an official parser's state; which one it is shows in its keys.

    Raises:
        CheckpointError: it is none of the three, or not complete.
    """
    found = next((value for key, value in _FIRST.items() if key in official), None)
    if found is None:
        raise CheckpointError(
            "not the state of a face parser that is known here (CelebAMask-HQ's U-Net, "
            f"zllrunning's or yakhyo's BiSeNet with ResNet-18); it has {sorted(official)[:3]}"
        )
    preset, keys = found
    system = FaceParsing(preset())
    network = system.networks["parser"]
    ours = keys.from_official(official, network.state_dict())
    if keys is not UNET:
        order = torch.tensor(BISENET19.values(*CELEBAMASK19.classes))
        ours |= {key: ours[key][order] for key in _LAST_LAYERS}
    network.load_state_dict(ours)
    return system


def to_bisenet_order(ours: Mapping[str, Tensor]) -> State:
    """Return the state of our BiSeNet with its answers in the official class order."""
    order = torch.tensor(CELEBAMASK19.values(*BISENET19.classes))
    return {**ours, **{key: ours[key][order] for key in _LAST_LAYERS}}


def to_files(system: FaceParsing, folder: Path, epoch: str) -> list[Path]:
    """Write the parser as its authors save it, BiSeNet as zllrunning does; return the file.

    Raises:
        CheckpointError: it is the compact network, which is this project's own.
    """
    network = system.networks["parser"]
    if isinstance(network, UNet):
        return [write_pth(network, UNET, folder, epoch, "G")]
    if not isinstance(network, BiSeNet):
        raise CheckpointError(
            "only the U-Net and BiSeNet have an official form; this is a compact parser"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{epoch}_iter.pth"
    state = BISENET.to_official(to_bisenet_order(network.state_dict()))
    torch.save({key: tensor.cpu().clone() for key, tensor in state.items()}, path)
    return [path]
