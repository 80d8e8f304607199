"""Official pix2pixHD checkpoints (`latest_net_G.pth`, `_E.pth`, `_D.pth`).

Channels of the generator's input are classes, the borders of instances, and features. Which of them
are there, the critic's input tells (it sees no features), or the encoder's output. The clusters of
features are a pickle, which is not read: `pentimento styles` learns them anew.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from pentimento.compat.official import KeyMap, State, fill, read_all, write_pth
from pentimento.compat.pix2pix import resnet
from pentimento.errors import CheckpointError
from pentimento.systems.generate.pix2pixhd import Config, Pix2PixHD


def generator(
    downs: int = 4, blocks: int = 9, *, local: bool = False, local_blocks: int = 3
) -> KeyMap:
    """Return the key map of the networks of one generator, as `<network>.<key>`.

    Args:
        downs: halvings of the global generator.
        blocks: its residual blocks.
        local: the networks are `trunk` and `enhancer`; else `trunk` and `head`.
        local_blocks: residual blocks of the enhancer.
    """
    trunk = resnet(blocks, downs)
    last = trunk.official("last.weight").removesuffix(".weight")

    def official(key: str) -> str:
        network, _, rest = key.partition(".")
        if network == "trunk":
            return trunk.official(rest)
        if network == "head":
            return rest.replace("0.", f"{last}.", 1)
        return _enhancer(rest)

    def _enhancer(key: str) -> str:
        part, _, rest = key.partition(".")
        if part == "blocks":
            n, conv, tail = rest.split(".")
            return f"model1_2.{n}.conv_block.{1 if conv == 'conv1' else 5}.{tail}"
        # Behind the blocks: the doubling with its norm and activation, and a padding.
        tail = key.rpartition(".")[2]
        place = {"first": "model1_1.1", "down": "model1_1.4", "up": f"model1_2.{local_blocks}"}
        return f"{place.get(part, f'model1_2.{local_blocks + 4}')}.{tail}"

    return KeyMap("pix2pixHD's local enhancer" if local else "pix2pixHD's generator", official)


def encoder(downs: int = 4) -> KeyMap:
    """Return the key map of the instance encoder."""
    return KeyMap("pix2pixHD's encoder", resnet(0, downs).official)


def critic(scales: int, *, features: bool = True) -> KeyMap:
    """Return the key map of `MultiscaleCritic`.

    Args:
        scales: how many; officially the last one sees the full resolution.
        features: saved with `--no_ganFeat_loss` unset: every layer has a name of its own.
    """

    def official(key: str) -> str:
        found = re.fullmatch(r"scales\.(\d+)\.layers\.(\d+)\.(\d+)\.(.*)", key)
        assert found is not None
        scale, layer = scales - 1 - int(found[1]), int(found[2])
        if features:
            return f"scale{scale}_layer{layer}.{found[3]}.{found[4]}"
        place = (0 if layer == 0 else 3 * layer - 1) + int(found[3])
        return f"layer{scale}.{place}.{found[4]}"

    return KeyMap("pix2pixHD's critic", official)


# --- whole models ---------------------------------------------------------------------------------

_ENDS: Final = {"encoder": "E", "critic": "D"}


def is_generator(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a state, made `plain`, is a generator of pix2pixHD; with 2 halvings it is not.

    A global generator of 2 halvings is CycleGAN's ResNet to the last key, and is read as that.
    """
    return "model1_1.1.weight" in state or _first_block(state) > 10


def _first_block(state: Mapping[str, Tensor]) -> int:
    found = [re.match(r"model\.(\d+)\.conv_block\.", key) for key in state]
    return min((int(match[1]) for match in found if match), default=0)


def _blocks(state: Mapping[str, Tensor], part: str) -> int:
    return len({k.split(".")[1] for k in state if k.startswith(f"{part}.") and ".conv_block." in k})


def _infer(states: Mapping[str, State]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the fields of Config that the keys tell, and what had to be assumed."""
    g, notes = states["G"], {}
    local = "model1_1.1.weight" in g
    width, seen = g["model.1.weight"].shape[:2]
    downs, odd = divmod(_first_block(g) - 4, 3)
    if odd or downs < 1 or width % 2:
        raise CheckpointError(
            "its residual blocks stand where pix2pixHD has none; CUT, for one, is not read here"
        )
    features = 0
    if "E" in states:
        places = [int(k.split(".")[1]) for k in states["E"] if k.endswith(".weight")]
        features = states["E"][f"model.{max(places)}.weight"].shape[0]
    fields: dict[str, Any] = {
        "enhance": local,
        "width": width // 2,
        "downs": downs,
        "blocks": _blocks(g, "model"),
        "features": features,
        "size": (1024, 2048) if local else (512, 1024),
    }
    if local:
        fields["local_blocks"] = _blocks(g, "model1_2")
    if "E" in states:
        fields["encoder_width"] = states["E"]["model.1.weight"].shape[0]
    if "D" in states:
        first = re.compile(r"(?:scale\d+_layer0\.0|layer\d+\.0)\.weight")
        fields["scales"] = sum(bool(first.fullmatch(key)) for key in states["D"])
        layer = next(tensor for key, tensor in states["D"].items() if first.fullmatch(key))
        fields["critic_width"] = layer.shape[0]
        if "layer0.0.weight" in states["D"]:  # saved with --no_ganFeat_loss
            fields["feature_weight"] = 0.0
        convs = sum(tensor.ndim == 4 for tensor in states["D"].values())
        fields["critic_layers"] = convs // fields["scales"] - 2
        if layer.shape[1] - 3 != seen - features:
            raise CheckpointError(
                f"the generator sees {seen} channels, {features} of them features, the critic "
                f"{layer.shape[1] - 3} beside the picture; give the encoder's file, too, or the "
                "generator's alone"
            )
    if seen - features <= 4:
        raise CheckpointError(
            f"it sees {seen - features} channels: it was trained on pictures (--label_nc 0), and "
            "only label maps can be pix2pixHD's condition here"
        )
    notes["edges"] = "assumed: one plane of borders between instances (no --no_instance)"
    return fields | {"classes": seen - features - 1}, notes


def from_files(files: Mapping[str, Path]) -> tuple[Pix2PixHD, dict[str, str]]:
    """Build the system of official files: ending (`G`, and perhaps `E` and `D`) → file.

    Networks whose files are missing are left out.

    Returns:
        The system with its weights, and what was dropped or assumed: key or field → why.

    Raises:
        CheckpointError: the files do not fit each other, or are not of these networks.
    """
    files = {end: file for end, file in files.items() if end in ("G", *_ENDS.values())}
    states, notes = read_all(files)
    try:
        fields, assumed = _infer(states)
    except CheckpointError as error:
        raise CheckpointError(f"{files['G']}: {error}") from None
    notes |= assumed
    system = Pix2PixHD(Config(**fields))
    networks = system.networks
    if system.config.enhance:
        del networks["head"]
        notes["head"] = "left out: with the enhancer the official code drops stage one's last layer"
    elif "E" not in files:
        notes["encoder"] = "none: without a file `_net_E.pth` styles cannot be learnt"
    for name, end in _ENDS.items():
        if name in networks and end not in files:
            del networks[name]
    if "styles" in networks:
        notes["styles"] = "empty: `pentimento styles` learns them from pictures"
    fill(_painters(networks), _keys(system, "G", states["G"]), states["G"], files["G"])
    for name, end in _ENDS.items():
        if name in networks:
            fill(networks[name], _keys(system, end, states[end]), states[end], files[end])
    return system, notes


def _painters(networks: nn.ModuleDict) -> nn.ModuleDict:
    names = ("trunk", "enhancer" if "enhancer" in networks else "head")
    return nn.ModuleDict({name: networks[name] for name in names})


def _keys(system: Pix2PixHD, end: str, state: Mapping[str, Tensor]) -> KeyMap:
    c = system.config
    if end == "G":
        return generator(c.downs, c.blocks, local=c.enhance, local_blocks=c.local_blocks)
    if end == "E":
        return encoder(c.downs)
    return critic(c.scales, features=any(key.startswith("scale0_") for key in state))


def to_files(system: Pix2PixHD, folder: Path, epoch: str) -> list[Path]:
    """Write a system's networks as the official code saves them; return the files."""
    state = {"scale0_": Tensor()} if system.config.feature_weight else {}
    networks: dict[str, nn.Module] = {"G": _painters(system.networks)}
    networks |= {end: system.networks[n] for n, end in _ENDS.items() if n in system.networks}
    return [
        write_pth(network, _keys(system, end, state), folder, epoch, end)
        for end, network in networks.items()
    ]
