"""What every system of the catalogue keeps, and the toy of the engine's tests with them.

Each is built from its `tiny` preset and fed a folder of random faces with smooth random labels.
"""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from engine import toy
from pentimento import models
from pentimento.catalog import CATALOG, name_of, row
from pentimento.config import from_json, to_json, with_values
from pentimento.engine import rng
from pentimento.engine.loop import fit
from pentimento.engine.processes import placed
from pentimento.engine.run import measuring
from pentimento.engine.settings import Settings
from pentimento.engine.update import Optimizers
from pentimento.errors import CheckpointError, ConfigError
from pentimento.labels import CELEBAMASK19
from pentimento.world.positions import layout, positions

SIDE = 64


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    for part in ("images", "labels", "truths", "maps", "panoptic"):
        (folder / part).mkdir()
    shape = layout(32)
    texels = [positions(seed, 32).reshape(-1, 3)[shape.texels] for seed in range(2)]
    marks = [(each * shape.blend[..., None]).sum(1)[:, :2] * SIDE for each in texels]
    for person in range(24):
        coarse = random.random((6, 6, len(CELEBAMASK19)))
        labels = cv2.resize(coarse, (SIDE, SIDE)).argmax(2).astype(np.uint8)
        image = random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        cv2.imwrite(str(folder / "labels" / f"{person}.png"), labels)
        cv2.imwrite(str(folder / "images" / f"{person}.png"), cv2.blur(image, (5, 5)))
        points = [[x, y, True] for x, y in marks[person % 2].tolist()]
        truths = {"seed": person % 2, "size": SIDE, "landmarks": {"68": points}}
        (folder / "truths" / f"{person}.json").write_text(json.dumps(truths))
        uv = cv2.resize(random.random((4, 4, 2)), (SIDE, SIDE)).astype(np.float16)
        depth = np.where(labels > 0, 10.0 + coarse[:1, :1, 0], np.inf).astype(np.float32)
        parts = (labels + 1).astype(np.uint8)  # of people in scenes
        maps = {"uv": uv, "covered": labels > 0, "depth": depth, "parts": parts}
        np.savez(folder / "maps" / f"{person}.npz", **maps)
    objects = [[8 + 4 * person % 24, 12, 24, 20 + person] for person in range(24)]
    table = {
        "images": [{"id": person, "file_name": f"{person}.png"} for person in range(24)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"image_id": person, "category_id": 1, "bbox": box, "track_id": 1}
            for person, box in enumerate(objects)
        ],
    }
    for person, (left, top, width, height) in enumerate(objects):
        owner = np.zeros((SIDE, SIDE, 3), np.uint8)  # BGR: id 1 is red
        owner[top : top + height, left : left + width, 2] = 1
        cv2.imwrite(str(folder / "panoptic" / f"{person}.png"), owner)
    (folder / "instances.json").write_text(json.dumps(table))
    return folder


@dataclass(frozen=True)
class Case:
    """One system and its data."""

    name: str
    spec: str

    @property
    def module(self) -> ModuleType:
        return row(self.name).module()

    def build(self, seed: int = 0) -> Any:
        rng.seed(seed)
        return row(self.name).system()(self.module.PRESETS["tiny"]())

    def data(self, system: Any, split: str = "train") -> Any:
        return self.module.open_data(self.spec, split, system.config)

    def batch(self, system: Any, size: int) -> Any:
        data = self.data(system)
        draws = [data.sample(i, np.random.default_rng(i)) for i in range(size)]
        return system.collate(draws)


@pytest.fixture(params=[*sorted(CATALOG), "toy"])
def case(request: pytest.FixtureRequest, faces: Path) -> Iterator[Case]:
    toy.register()
    yield Case(request.param, str(faces))
    del CATALOG["toy"]


def step(system: Any, *batches: Any) -> tuple[dict[str, Tensor], list[str]]:
    """Train on batches as the engine does; return the last terms and the skipped updates."""
    fabric = Fabric(accelerator="cpu", devices=1)
    with placed(fabric, system):
        settings = Settings(steps=4, batch_size=2)
        optimizers = Optimizers(fabric, system.networks, system.optimizers, settings)
        for batch in batches:
            optimizers.begin(0.0, last=True)
            terms = system.train_step(batch, optimizers)
            if optimizers.skipped:
                break
    return terms, optimizers.skipped


def bits(system: Any) -> bytes:
    return models.serialise(models.weights(system.networks))


def test_every_preset_is_a_configuration_that_survives_json(case: Case) -> None:
    assert "tiny" in case.module.PRESETS
    for preset in case.module.PRESETS.values():
        config = preset()
        assert isinstance(config, case.module.Config)
        assert from_json(case.module.Config, to_json(config)) == config
        longer = with_values(config, ["steps=77", "batch_size=6"])
        assert (longer.steps, longer.batch_size) == (77, 6)
        with pytest.raises(ConfigError, match="no_such_field"):
            with_values(config, ["no_such_field=1"])


def test_the_catalogue_knows_the_class(case: Case) -> None:
    assert name_of(type(case.build())) == case.name


def test_networks_optimizers_and_averages_fit_each_other(case: Case) -> None:
    system = case.build()
    owned = [key for spec in system.optimizers.values() for key in spec.networks]
    assert len(owned) == len(set(owned)), "a network belongs to one optimizer"
    assert (system.steps, system.batch_size) == (system.config.steps, system.config.batch_size)
    assert set(owned) | set(system.averaged) <= set(system.networks)
    assert set(system.averaged) <= set(owned)
    for spec in system.optimizers.values():
        factors = [spec.schedule(done / 20) for done in range(20)]
        assert all(0 <= factor <= 1 for factor in factors)


def test_a_batch_is_a_frozen_dataclass_of_tensors_on_the_cpu(case: Case) -> None:
    batch = case.batch(case.build(), 2)
    assert is_dataclass(batch)
    assert type(batch).__dataclass_params__.frozen
    tensors = [getattr(batch, each.name) for each in fields(batch)]
    tensors = [tensor for tensor in tensors if isinstance(tensor, Tensor)]
    assert tensors
    assert all(tensor.device.type == "cpu" for tensor in tensors)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_step_is_finite_at_any_batch_size(case: Case, size: int) -> None:
    system = case.build()
    before = copy.deepcopy(models.weights(system.networks))
    batch = case.batch(system, size)
    terms, skipped = step(system, batch, batch)
    assert not skipped
    assert all(value.numel() == 1 and torch.isfinite(value) for value in terms.values())
    after = models.weights(system.networks)
    trained = {key for spec in system.optimizers.values() for key in spec.networks}
    changed = {key.split(".")[0] for key, value in after.items() if not value.equal(before[key])}
    assert changed
    assert changed <= trained


def test_only_update_changes_weights(case: Case) -> None:
    system = case.build()
    parameters = {name: p.clone() for name, p in system.networks.named_parameters()}
    named: list[str] = []
    system.train_step(case.batch(system, 2), lambda name, terms: named.append(name))
    assert set(named) <= set(system.optimizers)
    for name, parameter in system.networks.named_parameters():
        assert parameter.equal(parameters[name])


def test_same_seed_same_bits(case: Case) -> None:
    runs = []
    for _ in range(2):
        system = case.build(3)
        step(system, case.batch(system, 2), case.batch(system, 3))
        runs.append(bits(system))
    assert runs[0] == runs[1]
    assert bits(case.build(3)) != bits(case.build(4))


def test_validation_and_sheets_are_measurements(case: Case) -> None:
    system = case.build()
    before, batch = bits(system), case.batch(system, 3)
    with measuring(system.networks):
        metrics = system.validate(iter([batch, case.batch(system, 1)]))
        sheet = system.samples(batch)
    name, direction = system.score
    assert direction in ("min", "max")
    assert np.isfinite(metrics[name])
    assert sheet.ndim == 5
    assert sheet.shape[0] == 3
    assert sheet.shape[2] == 3
    assert bits(system) == before


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_model_loads_and_predicts_the_same(case: Case, half: bool, tmp_path: Path) -> None:
    system = case.build()
    step(system, case.batch(system, 2))
    models.save(system, tmp_path / "once", "# a card\n", half=half)
    once = models.load(tmp_path / "once")
    models.save(once, tmp_path / "twice", "# a card\n")
    twice = models.load(tmp_path / "twice")
    assert once.config == system.config
    assert bits(once) == bits(twice)
    assert half or bits(once) == bits(system)
    batch = case.batch(system, 2)
    sheets = []
    for each in (once, twice):
        with measuring(each.networks):
            sheets.append(each.samples(batch))
    assert sheets[0].equal(sheets[1])


@pytest.mark.parametrize("harm", ["extra", "missing", "shape", "type"])
def test_a_model_that_does_not_fit_is_refused(case: Case, harm: str, tmp_path: Path) -> None:
    system = case.build()
    tensors = dict(models.weights(system.networks))
    key = next(key for key, value in tensors.items() if value.ndim > 1)
    edits: dict[str, Callable[[], Any]] = {
        "extra": lambda: tensors.update(intruder=torch.zeros(1)),
        "missing": lambda: tensors.pop(key),
        "shape": lambda: tensors.update({key: tensors[key][:-1]}),
        "type": lambda: tensors.update({key: tensors[key].double()}),
    }
    edits[harm]()
    before = bits(system)
    with pytest.raises(CheckpointError, match="intruder" if harm == "extra" else key):
        models.restore(system.networks, tensors, "a file")
    assert bits(system) == before


def test_extra_state_comes_back(case: Case) -> None:
    system = case.build()
    step(system, case.batch(system, 2), case.batch(system, 2))
    state = {key: value.clone() for key, value in system.extra_state().items()}
    other = case.build()
    other.load_extra_state(state)
    assert other.extra_state().keys() == state.keys()
    assert all(value.equal(state[key]) for key, value in other.extra_state().items())


class Crash(Exception):
    pass


def test_resumed_equals_uninterrupted(case: Case, tmp_path: Path) -> None:
    settings = Settings(
        steps=4, batch_size=2, save_every=1, validate_every=2, sheet_every=0, workers=0
    )

    def train(run: str, crash_at: int = 0, **options: Any) -> bytes:
        system = case.build(settings.seed)
        whole, calls = system.train_step, iter(range(1, 9))

        def train_step(batch: Any, update: Any) -> Any:
            if next(calls) == crash_at:
                raise Crash
            return whole(batch, update)

        system.train_step = train_step
        data = case.data(system), case.data(system, "val")
        fit(system, tmp_path / run, *data, settings, **options)
        return (tmp_path / run / "model.safetensors").read_bytes()

    once = train("once")
    with pytest.raises(Crash):
        train("twice", crash_at=3)
    assert train("twice", resume=True) == once
