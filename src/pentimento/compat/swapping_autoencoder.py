"""Official swapping-autoencoder checkpoints (`{N}k_checkpoint.pth`): four networks, flat keys."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from pentimento.compat.official import KeyMap, State
from pentimento.errors import CheckpointError
from pentimento.nn.stylegan import BILINEAR, Blur
from pentimento.systems.generate.swapping_autoencoder import Config, SwappingAutoencoder

_LAYER: Final = {"prefilter": "Blur", "filter": "Conv", "act": "Act"}


def _layers(key: str) -> str:
    """Rename the parts of `nn.stylegan.ConvLayer`."""
    return ".".join(_LAYER.get(part, part) for part in key.split("."))


def _numbered(key: str, part: str, official: str) -> str:
    """Rename `part.n` to the official name with 2 to the power of n, counted from `official`."""
    name, first = official.split("#")
    return re.sub(rf"^{part}\.(\d+)", lambda m: f"{name}{2 ** (int(first) + int(m[1]))}", key)


def encoder(structure_downs: int = 4) -> KeyMap:
    """Return the key map of `Encoder`."""

    def official(key: str) -> str:
        key = _numbered(key, "trunk", "DownToSpatialCode.ResBlockDownBy#0")
        key = _numbered(key, "texture_trunk", f"DownToGlobalCode.ConvLayerDownBy#{structure_downs}")
        key = re.sub("^from_rgb", "FromRGB", key)
        key = re.sub("^to_structure", "ToSpatialCode", key)
        return _layers(re.sub("^to_texture", "ToGlobalCode.0", key))

    return KeyMap("the swapping autoencoder's encoder", official)


def _generator(key: str) -> str:
    key = re.sub(r"^head\.(\d+)", r"HeadResnetBlock\1", key)
    key = _numbered(key, "up", "UpsamplingResBlock#4")
    key = re.sub("^modulate", "SpatialCodeModulation", key)
    return _layers(re.sub("^to_rgb", "ToRGB", key))


def _unused_filter(ours: Mapping[str, Tensor]) -> State:
    return {"ToRGB.upsample.kernel": Blur(BILINEAR, (2, 1), up=2).kernel}


GENERATOR: Final = KeyMap("the swapping autoencoder's generator", _generator, _unused_filter)

CRITIC: Final = KeyMap("the swapping autoencoder's critic", lambda k: "stylegan2_D." + _layers(k))


def _patch_critic(key: str) -> str:
    # The official code counts on from its first convolution, but calls the first block by its size.
    if key.startswith("convs.1."):
        return _layers(key.replace("convs.1.", "convs.128x128."))
    key = re.sub(r"^convs\.([2-9])", lambda m: f"convs.{int(m[1]) - 1}", key)
    return _layers(re.sub("^pair", "pairlinear", key))


PATCH_CRITIC: Final = KeyMap("the swapping autoencoder's patch critic", _patch_critic)


def whole(structure_downs: int = 4) -> KeyMap:
    """Return the key map of `SwappingAutoencoder.networks`: a whole checkpoint file."""
    parts = {
        "encoder": ("E.", encoder(structure_downs)),
        "generator": ("G.", GENERATOR),
        "critic": ("D.", CRITIC),
        "patch_critic": ("Dpatch.", PATCH_CRITIC),
    }

    def official(key: str) -> str:
        network, _, rest = key.partition(".")
        prefix, keys = parts[network]
        return prefix + keys.official(rest)

    def unused(ours: Mapping[str, Tensor]) -> State:
        counter = torch.zeros(1, dtype=torch.long)
        filters = {f"G.{key}": kernel for key, kernel in _unused_filter(ours).items()}
        return {"num_discriminator_iters": counter} | filters

    return KeyMap("the swapping autoencoder", official, unused)


def config_of(shapes: Mapping[str, Sequence[int]]) -> Config:
    """Infer the configuration from the shapes of a whole official checkpoint.

    Raises:
        CheckpointError: it is another network's state.
    """

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, key) is not None for key in shapes)

    def widths(pattern: str) -> tuple[int, ...]:
        return tuple(
            shape[0] for key, shape in shapes.items() if re.fullmatch(pattern, key) is not None
        )

    try:
        size = 4 * 2 ** count(r"D\.stylegan2_D\.convs\.\d+\.skip\.Conv\.weight")
        patch = 4 * 2 ** count(r"Dpatch\.convs\.\w+\.skip\.Blur\.kernel")
        return Config(
            size=size,
            encoder_width=shapes["E.FromRGB.Conv.weight"][0],
            structure=shapes["E.ToSpatialCode.1.Conv.weight"][0],
            structure_downs=count(r"E\.DownToSpatialCode\.\w+\.skip\.Conv\.weight"),
            texture=shapes["E.ToGlobalCode.0.weight"][0],
            texture_downs=count(r"E\.DownToGlobalCode\.\w+\.Conv\.weight"),
            head_widths=widths(r"G\.HeadResnetBlock\d+\.conv1\.activate\.bias"),
            widths=widths(r"G\.UpsamplingResBlock\d+\.conv1\.activate\.bias"),
            critic_base=shapes["D.stylegan2_D.convs.0.Conv.weight"][0] * size,
            critic_max=shapes["D.stylegan2_D.final_conv.Conv.weight"][0],
            patch=patch,
            patch_width=shapes["Dpatch.convs.0.Conv.weight"][0],
            patch_max=widths(r"Dpatch\.convs\.\d+\.Conv\.weight")[-1],
            pair_width=shapes["Dpatch.pairlinear.0.weight"][0],
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"this is not a whole checkpoint of the swapping autoencoder ({error})"
        ) from error


def recognises(official: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is a whole swapping autoencoder, going by its keys."""
    return "E.FromRGB.Conv.weight" in official


def from_official(official: Mapping[str, Tensor]) -> SwappingAutoencoder:
    """Return the system of a whole official state.

    Raises:
        CheckpointError: it is another network's state, or not complete.
    """
    config = config_of({key: tuple(tensor.shape) for key, tensor in official.items()})
    system = SwappingAutoencoder(config)
    keys = whole(config.structure_downs)
    system.networks.load_state_dict(keys.from_official(official, system.networks.state_dict()))
    return system


def to_files(system: SwappingAutoencoder, folder: Path, epoch: str) -> list[Path]:
    """Write all four networks as the official code does; return the file."""
    keys = whole(system.config.structure_downs)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{epoch}_checkpoint.pth"
    state = keys.to_official(system.networks.state_dict())
    torch.save({key: tensor.cpu().clone() for key, tensor in state.items()}, path)
    return [path]
