"""Any official checkpoint that there is a system for: told apart by its keys."""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from pentimento.compat import (
    centernet,
    cornernet,
    densepose,
    landmarks,
    retinaface,
    style_transfer,
    super_resolution,
    translation,
)
from pentimento.compat.official import State, read_pth
from pentimento.errors import CheckpointError
from pentimento.systems.generate.style_transfer import StyleTransfer
from pentimento.systems.generate.super_resolution import SuperResolution

_VGG: Final = {26: (16, "features.24.weight"), 32: (19, "features.34.weight")}
"""Tensors of its convolutions → depth, and one that the other depth has not."""


def load_official(path: Path, epoch: str = "latest") -> tuple[Any, dict[str, str]]:
    """Build the system of an official checkpoint.

    Args:
        path: a `.pth` of fast neural style, BasicSR or ESRGAN, RetinaFace, face-HRNet,
            princeton-vl's hourglass, FAN, CornerNet, either CenterNet or DensePose; or a file or
            folder of a translation (`compat/translation.py`).
        epoch: which files of the folder.

    Returns:
        The system with its weights, and what was dropped or assumed: key or field → why.

    Raises:
        CheckpointError: it is none of these, or holds more than tensors.
    """
    if path.is_file():
        state = read_pth(path, (*super_resolution.WRAPPERS, "state_dict", "model"))
        if style_transfer.recognises(state):
            return style_transfer.from_official(state)
        if super_resolution.recognises(state):
            return super_resolution.from_official(state)
        perceivers: tuple[Any, ...] = (landmarks, retinaface, cornernet, centernet, densepose)
        for perceiver in perceivers:
            if perceiver.recognises(state):
                return perceiver.from_official(state), {}
    return translation.load_official(path, epoch)


def save_official(system: Any, folder: Path, epoch: str = "latest") -> list[Path]:
    """Write a system's networks as the official code saves them.

    Returns:
        The files.

    Raises:
        CheckpointError: there is no official form of it.
    """
    if isinstance(system, translation.Convertible):
        return translation.save_official(system, folder, epoch)
    content: dict[str, Any]
    if isinstance(system, StyleTransfer):
        content = dict(style_transfer.to_official(system.networks["transformer"].state_dict()))
    elif isinstance(system, SuperResolution):
        keys = super_resolution.keys_of(system.config)
        content = {"params": keys.to_official(system.networks["generator"].state_dict())}
    else:
        raise CheckpointError(
            f"{type(system).__name__} is not written back; pix2pix, cyclegan, pix2pixhd, "
            "bicyclegan, style_transfer and super_resolution are"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{epoch}_net_G.pth"
    torch.save(content, path)
    return [path]


def convert_vgg(path: Path, out: Path) -> int | None:
    """Write torchvision's VGG as safetensors, for perceptual losses; its classifier stays behind.

    Args:
        path: `vgg16-….pth` or `vgg19-….pth` of torchvision.
        out: the safetensors file.

    Returns:
        16 or 19, or None if it is no VGG: nothing was written.
    """
    state: State = read_pth(path, (*super_resolution.WRAPPERS, "state_dict"))
    kept = {key: value.contiguous() for key, value in state.items() if key.startswith("features.")}
    depth, mark = _VGG.get(len(kept), (0, ""))
    if mark not in kept:
        return None
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(kept, out)
    return depth
