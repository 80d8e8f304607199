"""Any official checkpoint that there is a system for: told apart by its keys."""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from pentimento.compat import (
    centernet,
    cornernet,
    densepose,
    face_parsing,
    landmarks,
    maskgan,
    portrait,
    retinaface,
    style_transfer,
    super_resolution,
    swapping_autoencoder,
    translation,
)
from pentimento.compat.official import State, read_pth
from pentimento.errors import CheckpointError
from pentimento.systems.generate.maskgan import MaskGAN
from pentimento.systems.generate.portrait import Portrait
from pentimento.systems.generate.style_transfer import StyleTransfer
from pentimento.systems.generate.super_resolution import SuperResolution
from pentimento.systems.generate.swapping_autoencoder import SwappingAutoencoder
from pentimento.systems.perceive.face_parsing import FaceParsing

_GENERATORS: Final[tuple[Any, ...]] = (style_transfer, super_resolution, maskgan)
"""Modules whose `from_official` tells what it left out."""
_COMPLETE: Final[tuple[Any, ...]] = (
    swapping_autoencoder, face_parsing, landmarks, retinaface, cornernet, centernet, densepose,
)  # fmt: skip
"""Modules whose files hold all there is."""
_WRITTEN: Final[dict[type, Any]] = {
    Portrait: portrait,
    MaskGAN: maskgan,
    SwappingAutoencoder: swapping_autoencoder,
    FaceParsing: face_parsing,
}

_VGG: Final = {26: (16, "features.24.weight"), 32: (19, "features.34.weight")}
"""Tensors of its convolutions → depth, and one that the other depth has not."""


def load_official(path: Path, epoch: str = "latest") -> tuple[Any, dict[str, str]]:
    """Build the system of an official checkpoint.

    Args:
        path: a `.pth` of a system that a module of this package reads, or the folder of
            `<epoch>_net_G.pth` and what belongs to it.
        epoch: which files of the folder.

    Returns:
        The system with its weights, and what was dropped or assumed: key or field → why.

    Raises:
        CheckpointError: it is none of these, or holds more than tensors.
    """
    if portrait.recognises(path, epoch):
        return portrait.from_folder(path, epoch)
    file = path / f"{epoch}_net_G.pth" if path.is_dir() else path
    if file.is_file():
        state = read_pth(file, (*super_resolution.WRAPPERS, "state_dict", "model"))
        for generator in _GENERATORS:
            if generator.recognises(state):
                told: tuple[Any, dict[str, str]] = generator.from_official(state)
                return told
        for complete in _COMPLETE:
            if complete.recognises(state):
                return complete.from_official(state), {}
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
    for kind, module in _WRITTEN.items():
        if isinstance(system, kind):
            files: list[Path] = module.to_files(system, folder, epoch)
            return files
    content: dict[str, Any]
    if isinstance(system, StyleTransfer):
        if system.config.beside:
            raise CheckpointError(
                "this model paints beside the picture, to which the official code adds nothing; "
                "train with beside=false for a file that it reads"
            )
        content = dict(style_transfer.to_official(system.networks["transformer"].state_dict()))
    elif isinstance(system, SuperResolution):
        keys = super_resolution.keys_of(system.config)
        content = {"params": keys.to_official(system.networks["generator"].state_dict())}
    else:
        raise CheckpointError(
            f"{type(system).__name__} is not written back; pix2pix, cyclegan, pix2pixhd, "
            "bicyclegan, spade, style_transfer, super_resolution, portrait, maskgan, "
            "swapping_autoencoder and face_parsing are"
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
