"""A model that describes itself: one folder, one argument to load it.

    config.json         {"format": 1, "system": name, "config": {…}, "networks": [name, …],
                         "sha256": {file: [hash, …]}}
    model.safetensors   every tensor of every network, as `<network>.<key>`
    card.md             what it is, what it was trained on, what it scored

A run folder is such a folder too; its `model.safetensors` is the latest. Two files cannot be
replaced at one instant, so `config.json` is written first and accepts the new model and the one
it replaces; at every moment the folder loads.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as pack
from torch import Tensor, nn

from pentimento import catalog
from pentimento.config import from_json, to_json
from pentimento.engine import storage
from pentimento.errors import CheckpointError, ConfigError

FORMAT: Final = 1
MODEL_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
CARD_FILE: Final = "card.md"

_MAX_CONFIG_BYTES: Final = 1 << 20
_MAX_MODEL_BYTES: Final = 4 << 30
_MAX_HEADER_BYTES: Final = 16 << 20


def weights(networks: nn.ModuleDict) -> dict[str, Tensor]:
    """Return every persistent tensor of the networks, by `<network>.<key>`, without copying."""
    return {
        f"{name}.{key}": tensor
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }


def serialise(tensors: Mapping[str, Tensor], *, half: bool = False) -> bytes:
    """Return the bytes of a safetensors file; float32 is stored as float16 if `half`."""
    plain = {}
    for key, tensor in tensors.items():
        kind = torch.float16 if half and tensor.dtype == torch.float32 else tensor.dtype
        # A clone of its own: safetensors refuses tensors that share memory.
        plain[key] = tensor.detach().to("cpu", kind, copy=True).contiguous()
    return pack(plain)


def save(
    system: Any,
    folder: str | Path,
    card: str,
    *,
    half: bool = False,
    networks: Sequence[str] | None = None,
) -> None:
    """Write the system's networks as they are now as a model folder.

    Args:
        system: a system of the catalogue.
        folder: created where missing; a model in it is replaced, the old one staying whole until
            the new one is.
        card: Markdown for people; data, licence, command and scores belong in it.
        half: store float32 as float16: half the size, about three decimal digits.
        networks: which ones; all where None. What only training needs, such as critics, can stay
            behind: the loaded system has no such network.

    Raises:
        CheckpointError: the disk is full or failing; an older model in the folder is intact.
    """
    folder = Path(folder)
    names = list(system.networks) if networks is None else list(networks)
    kept = nn.ModuleDict({name: system.networks[name] for name in names})
    model = serialise(weights(kept), half=half)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        accepted = [storage.sha256(model)]
        if (folder / MODEL_FILE).is_file():
            old = storage.sha256((folder / MODEL_FILE).read_bytes())
            accepted += [old] * (old not in accepted)
        described = {
            "format": FORMAT,
            "system": catalog.name_of(type(system)),
            "config": to_json(system.config),
            "networks": names,
            "sha256": {MODEL_FILE: accepted},
        }
        storage.replace(folder / CONFIG_FILE, (json.dumps(described, indent=2) + "\n").encode())
        storage.replace(folder / MODEL_FILE, model)
        storage.replace(folder / CARD_FILE, card.encode())
    except OSError as error:
        raise CheckpointError(
            f"{folder}: the model could not be written ({error.strerror}); what was there before "
            "is intact. Free some space or choose another folder."
        ) from error


def load(folder: str | Path) -> Any:
    """Build the system that a model folder or a run folder describes, with its weights.

    The networks are on the CPU, in evaluation mode. Nothing in the files is executed: JSON and
    safetensors only, sizes capped before reading, hashes checked before use.

    Raises:
        CheckpointError: a file is missing, damaged, too big, or does not fit the configuration.
    """
    folder = Path(folder)
    described = read_description(folder)
    row = _row(folder, described)
    try:
        config = from_json(row.module().Config, described["config"])
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG_FILE}: {error}") from None
    tensors = read_tensors(folder / MODEL_FILE, described["sha256"].get(MODEL_FILE, []))
    with torch.random.fork_rng(devices=[]):  # building draws initial weights; callers' seeds stay
        system = row.system()(config)
    saved = described.get("networks", list(system.networks))
    for name in [name for name in system.networks if name not in saved]:
        del system.networks[name]
    restore(system.networks, tensors, str(folder / MODEL_FILE))
    system.networks.eval()
    return system


def read_description(folder: Path) -> dict[str, Any]:
    """Read and check `config.json`; CheckpointError says what is wrong with it."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder} is no model folder: {CONFIG_FILE} is missing. Give a folder written by "
            "`pentimento train --out` or by `save`."
        )
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path} is larger than {_MAX_CONFIG_BYTES} bytes; not read")
    try:
        described = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    expected = {"format": int, "system": str, "config": dict, "sha256": dict}
    if not isinstance(described, dict) or any(
        not isinstance(described.get(key), kind) for key, kind in expected.items()
    ):
        raise CheckpointError(f"{path} must hold an object with {', '.join(expected)}")
    if described["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has format {described['format']}, this version reads format {FORMAT}; "
            "update pentimento"
        )
    return described


def read_tensors(path: Path, accepted: list[str]) -> dict[str, Tensor]:
    """Read a safetensors file whose SHA-256 is one of `accepted`."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    if path.stat().st_size > _MAX_MODEL_BYTES:
        raise CheckpointError(f"{path} is larger than {_MAX_MODEL_BYTES} bytes; not read")
    data = path.read_bytes()
    if storage.sha256(data) not in accepted:
        raise CheckpointError(
            f"{path} is damaged or was exchanged: its SHA-256 is not the one {CONFIG_FILE} "
            "records. Fetch the model again, or use a checkpoint of its run."
        )
    return deserialise(data, str(path))


def deserialise(data: bytes, name: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file's bytes; `name` is what errors call it."""
    if len(data) < 8 or struct.unpack("<Q", data[:8])[0] > _MAX_HEADER_BYTES:
        raise CheckpointError(f"{name} is no safetensors file")
    try:
        return parse(data)
    except SafetensorError as error:
        raise CheckpointError(f"{name} is no valid safetensors file: {error}") from None


def restore(networks: nn.ModuleDict, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copy tensors into networks; every key must be used, every key must be there, shapes equal."""
    targets = weights(networks)
    faults = [f"{key} is missing" for key in sorted(targets.keys() - tensors.keys())]
    faults += [f"{key} is unknown" for key in sorted(tensors.keys() - targets.keys())]
    for key in sorted(targets.keys() & tensors.keys()):
        found, wanted = tensors[key], targets[key]
        if found.shape != wanted.shape:
            faults.append(f"{key} is {tuple(found.shape)}, expected {tuple(wanted.shape)}")
        elif found.dtype not in (wanted.dtype, torch.float16):
            faults.append(f"{key} is {found.dtype}, expected {wanted.dtype}")
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise CheckpointError(
            f"{name} does not fit its configuration: {'; '.join(faults[:5])}{more}"
        )
    with torch.no_grad():
        for key, target in targets.items():
            target.copy_(tensors[key])


def _row(folder: Path, described: Mapping[str, Any]) -> catalog.Row:
    try:
        return catalog.row(described["system"])
    except ValueError as error:
        raise CheckpointError(f"{folder / CONFIG_FILE}: {error}") from None
