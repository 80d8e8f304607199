"""Official MaskGAN checkpoints (`label2face_512p/latest_net_G.pth` and its kin)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from pentimento.compat.official import KeyMap, State, write_pth
from pentimento.errors import CheckpointError
from pentimento.systems.generate.maskgan import Config, MaskGAN

_ENCODERS = {"convs": "enc_style", "label_convs": "enc_label"}


def _translator(key: str, downs: int, blocks: int) -> str:
    """Return positions in the official nn.Sequential: pad, conv, norm, ReLU; then threes."""
    part, n, rest = key.split(".", 2)
    if part == "encode":
        return f"model.{3 * int(n) + 1}.{rest.removeprefix('0.')}"
    first = 3 * downs + 4
    if part == "blocks":
        conv, tail = rest.split(".")
        return f"model.{first + int(n)}.conv_block.{int(conv[-1]) - 1}.conv.{tail}"
    pad = int(n) == downs  # the last convolution has a padding layer in front
    return f"model.{first + blocks + 3 * int(n) + pad}.{rest.removeprefix('0.')}"


def _style(key: str) -> str:
    part, rest = key.removeprefix("style.").split(".", 1)
    if part == "project":
        return f"enc_style.model_last.1.{rest}"
    if part in _ENCODERS:
        position, tail = rest.split(".")
        n = int(position)
        late = f"model_middle.{n - 3}" if part == "convs" else f"model_last.{n - 2}"
        return f"{_ENCODERS[part]}.{f'model.{n}' if n < 3 else late}.conv.{tail}"
    found = re.fullmatch(r"(scale|shift)\.([02])\.(weight|bias)", rest)
    assert found is not None
    conv = int(found[2]) // 2 + 1
    return f"enc_style.sft{part[-1]}.SFT_{found[1]}_conv{conv}.{found[3]}"


def generator(downs: int = 4, blocks: int = 4) -> KeyMap:
    """Return the key map of `DenseMapping` with so many halvings and blocks."""

    def official(key: str) -> str:
        return _style(key) if key.startswith("style.") else _translator(key, downs, blocks)

    def unused(ours: Mapping[str, Tensor]) -> State:
        # Running statistics of the adaptive normalisations: saved, never read.
        convs = [key for key in ours if re.fullmatch(r"blocks\.\d+\.conv[12]\.bias", key)]
        return {
            official(key).replace("conv.bias", f"norm.running_{name}"): value
            for key in convs
            for name, value in (
                ("mean", torch.zeros_like(ours[key])),
                ("var", torch.ones_like(ours[key])),
            )
        }

    return KeyMap("MaskGAN's generator", official, unused)


def blender(downs: int = 3, blocks: int = 3) -> KeyMap:
    """Return the key map of `Blender`."""
    return KeyMap("MaskGAN's blender", lambda key: _translator(key, downs, blocks))


def _critic(key: str) -> str:
    # The official scale 0 is the coarsest of the two.
    found = re.fullmatch(r"scales\.([01])\.layers\.(\d+)\.(.*)", key)
    assert found is not None
    return f"scale{1 - int(found[1])}_layer{found[2]}.{found[3]}"


CRITIC: Final = KeyMap("MaskGAN's critic", _critic)


def vae(levels: int = 7) -> KeyMap:
    """Return the key map of a module with `encoder` and `decoder`, for a size of 4 · 2^levels."""
    heads = {
        "encoder.mean": "fc1",
        "encoder.log_variance": "fc2",
        "decoder.expand": "d1",
    }

    def official(key: str) -> str:
        for ours, theirs in heads.items():
            if key.startswith(ours):
                return theirs + key.removeprefix(ours)
        found = re.fullmatch(r"(encoder|decoder)\.layers\.(\d+)\.(\d)\.(.*)", key)
        assert found is not None
        n, encodes = int(found[2]), found[1] == "encoder"
        if found[3] == ("0" if encodes else "1"):
            return f"{'e' if encodes else 'd'}{n + (1 if encodes else 2)}.{found[4]}"
        return f"bn{n + 1 + (0 if encodes else levels)}.{found[4]}"

    return KeyMap("MaskGAN's mask VAE", official)


def recognises(official: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is MaskGAN's generator, going by its keys."""
    return "enc_style.model_last.1.weight" in official


def config_of(shapes: Mapping[str, Sequence[int]]) -> Config:
    """Infer the configuration from the shapes of an official generator."""
    blocks = [
        int(found[1])
        for key in shapes
        if (found := re.fullmatch(r"model\.(\d+)\.conv_block\.0\.conv\.weight", key))
    ]
    if not blocks or "model.1.weight" not in shapes:
        raise CheckpointError("this is not a whole checkpoint of MaskGAN's generator")
    width, classes = shapes["model.1.weight"][:2]
    return Config(
        width=width,
        classes=classes,
        downs=(min(blocks) - 4) // 3,
        blocks=len(blocks),
        style_width=shapes["enc_style.model_last.1.weight"][1],
    )


def from_official(official: Mapping[str, Tensor]) -> tuple[MaskGAN, dict[str, str]]:
    """Return the system of an official generator's state, and what was left out or assumed.

    Raises:
        CheckpointError: it is another network's state, or not complete.
    """
    config = config_of({key: tuple(tensor.shape) for key, tensor in official.items()})
    system = MaskGAN(config)
    network = system.networks["generator"]
    keys = generator(config.downs, config.blocks)
    network.load_state_dict(keys.from_official(official, network.state_dict()))
    for name in [name for name in system.networks if name != "generator"]:
        del system.networks[name]
    return system, {
        "size": f"assumed {config.size}, as published; --set size for another",
        "blender, mask_encoder, mask_decoder, critic": "none: only training needs them, and the "
        "official file holds the generator alone",
    }


def to_files(system: MaskGAN, folder: Path, epoch: str) -> list[Path]:
    """Write the generator as the official code does; return the file."""
    keys = generator(system.config.downs, system.config.blocks)
    return [write_pth(system.networks["generator"], keys, folder, epoch, "G")]
