"""Model folders: strict, hashed, capped, and never executed."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import toy
from pentimento import models
from pentimento.catalog import CATALOG
from pentimento.engine import rng
from pentimento.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    rng.seed(0)
    models.save(toy.register().Toy(toy.tiny()), tmp_path / "model", "# Toy\n")
    yield tmp_path / "model"
    CATALOG.pop("toy", None)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / models.CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_holds_three_files_that_describe_it(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.md",
        "config.json",
        "model.safetensors",
    ]
    described = json.loads((folder / "config.json").read_text())
    assert described["format"] == 1
    assert described["system"] == "toy"
    assert described["config"]["width"] == 4
    assert (folder / "card.md").read_text() == "# Toy\n"


def test_loading_leaves_the_generators_alone_and_is_in_evaluation_mode(folder: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    system = models.load(folder)
    assert torch.rand(1).equal(expected)
    assert not any(network.training for network in system.networks.values())


def test_half_precision_halves_the_file_and_loads_as_float32(folder: Path, tmp_path: Path) -> None:
    system = models.load(folder)
    models.save(system, tmp_path / "half", "", half=True)
    tensors = models.weights(models.load(tmp_path / "half").networks)
    assert all(t.dtype != torch.float16 for t in tensors.values())
    for key, tensor in models.weights(system.networks).items():
        expected = tensor.half().float() if tensor.dtype == torch.float32 else tensor
        assert tensors[key].equal(expected)


def test_networks_can_stay_behind(folder: Path, tmp_path: Path) -> None:
    system = models.load(folder)
    first, *others = system.networks
    models.save(system, tmp_path / "part", "", networks=(first,))
    loaded = models.load(tmp_path / "part")
    assert others
    assert list(loaded.networks) == [first]
    for key, tensor in models.weights(loaded.networks).items():
        assert tensor.equal(models.weights(system.networks)[key])


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_one_flipped_bit_is_refused(folder: Path, place: float) -> None:
    path = folder / models.MODEL_FILE
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged or was exchanged"):
        models.load(folder)


def test_a_truncated_model_is_refused(folder: Path) -> None:
    path = folder / models.MODEL_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        models.load(folder)


@pytest.mark.parametrize("name", [models.MODEL_FILE, models.CONFIG_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}.* is missing"):
        models.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2, this version reads format 1"),
        ({"system": "nothing"}, "no system is called 'nothing'"),
        ({"config": {"width": 0}}, "width must be at least 1"),
        ({"config": {"depth": 3}}, "depth"),
        ({"config": []}, "must hold an object"),
        ({"config": {"width": 5}}, r"is \(4,.*expected \(5"),
    ],
)
def test_a_description_that_is_wrong_says_so(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        models.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "1"}', "\udcff"])
def test_a_description_that_is_no_description_says_so(folder: Path, text: str) -> None:
    (folder / models.CONFIG_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=models.CONFIG_FILE):
        models.load(folder)


def test_sizes_are_capped_before_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_MAX_MODEL_BYTES", 100)
    with pytest.raises(CheckpointError, match="larger than 100 bytes; not read"):
        models.load(folder)
    (folder / models.CONFIG_FILE).write_bytes(b" " * (2 << 20))
    with pytest.raises(CheckpointError, match="larger than"):
        models.load(folder)


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x02pickle", struct.pack("<Q", 1 << 40), struct.pack("<Q", 9) + b"{}"]
)
def test_what_is_no_safetensors_file_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="safetensors"):
        models.deserialise(data, "a file")


def test_only_listed_systems_can_be_saved(folder: Path, tmp_path: Path) -> None:
    system = models.load(folder)
    del CATALOG["toy"]
    with pytest.raises(ValueError, match="no row in the catalogue"):
        models.save(system, tmp_path / "other", "")
