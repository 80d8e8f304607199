"""Every network gives the official numbers for the official weights, keys and inputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity.counterparts import Counterpart, table, unanswered
from parity.fixture import COMMITTED, Fixture, Run, State, folder, load_all

COUNTERPARTS = table()
FIXTURES = load_all(folder())
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


@pytest.mark.parametrize(
    "fixture", [f for f in FIXTURES if f.name in COUNTERPARTS], ids=lambda f: f.name
)
def test_network_equals_the_official_one(fixture: Fixture) -> None:
    counterpart = COUNTERPARTS[fixture.name](fixture)
    if counterpart.module is not None:
        _check_state(fixture, counterpart, counterpart.module)
    official = State()
    filled = None
    wrong = []
    for run in fixture.runs:
        if run.fill and counterpart.module is not None:
            if filled != run.fill:
                official, filled = _filled(run, counterpart, counterpart.module), run.fill
            ours = counterpart.from_official(counterpart.adjust(run, dict(official)))
            counterpart.module.load_state_dict(ours)
            _set_mode(counterpart.module, run.mode)
        outputs = _outputs(run, counterpart)
        for record in run.records:
            assert record.name in outputs, f"run {run.name}: no output {record.name!r}"
            wrong += [
                f"run {run.name}: {line}" for line in record.differences(outputs[record.name])
            ]
    assert not wrong, "\n".join([f"{fixture.name} is not the official network:", *wrong])


def test_every_committed_fixture_is_answered() -> None:
    assert unanswered(load_all(COMMITTED)) == []


def test_every_counterpart_has_a_committed_fixture() -> None:
    assert set(COUNTERPARTS) <= {fixture.name for fixture in load_all(COMMITTED)}


def test_a_fixture_without_a_counterpart_is_reported(tmp_path: Path) -> None:
    (tmp_path / "portrait").mkdir()
    (tmp_path / "portrait" / "new.json").write_text('{"name": "nobody_wrote_this"}')
    assert unanswered(load_all(tmp_path)) == ["nobody_wrote_this"]


def _check_state(fixture: Fixture, counterpart: Counterpart, module: nn.Module) -> None:
    state = counterpart.to_official(module.state_dict())
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == fixture.shapes
    assert sum(p.numel() for p in module.parameters()) == fixture.raw["param_count"]


def _filled(run: Run, counterpart: Counterpart, module: nn.Module) -> State:
    """Fill under the official keys; constants and counters stay as the module built them."""
    assert run.fill is not None
    filled, total, squares = run.fixture.weights(run.fill)
    if run.fill_check is not None:
        assert total == pytest.approx(run.fill_check["sum"], rel=1e-6, abs=1e-4)
        assert squares == pytest.approx(run.fill_check["sumsq"], rel=1e-6)
    return {**counterpart.to_official(module.state_dict()), **filled}


def _set_mode(module: nn.Module, mode: str) -> None:
    module.train(mode == "train")
    if mode == "batchstats":
        for part in module.modules():
            if isinstance(part, _NORMS):
                part.train()


def _outputs(run: Run, counterpart: Counterpart) -> dict[str, Tensor]:
    if counterpart.module is None:
        return counterpart.call(run)
    with torch.no_grad(), _tapped(run, counterpart.module) as tapped:
        outputs = counterpart.call(run)
    after = {
        f"after/{key}": tensor
        for key, tensor in counterpart.to_official(counterpart.module.state_dict()).items()
    }
    return {**after, **tapped, **outputs}


@contextmanager
def _tapped(run: Run, module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect what the harness can see by itself: the last activation's input, `@path` outputs."""
    taps: dict[str, Tensor] = {}
    hooks = []
    for name, kind in (("pre_tanh", nn.Tanh), ("pre_sigmoid", nn.Sigmoid)):
        for part in module.modules():
            if isinstance(part, kind) and run.wants(name):

                def keep_input(_: nn.Module, args: tuple[Tensor], name: str = name) -> None:
                    taps[name] = args[0].clone()

                hooks.append(part.register_forward_pre_hook(keep_input))
    paths = dict(module.named_modules())
    for record in run.records:
        if record.name.startswith("@") and record.name[1:] in paths:

            def keep(_: nn.Module, __: object, out: Tensor, name: str = record.name) -> None:
                taps[name] = out.clone()

            hooks.append(paths[record.name[1:]].register_forward_hook(keep))
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


def test_a_different_network_is_told_apart() -> None:
    record = next(f for f in load_all(COMMITTED) if f.name == "maskgan_blend").runs[0].records[0]
    values = np.interp(
        np.arange(np.prod(record.raw["shape"])),
        np.arange(64) * (np.prod(record.raw["shape"]) - 1) // 63,
        record.raw["values"],
    )
    ours = torch.from_numpy(values.reshape(record.raw["shape"]))
    assert not [line for line in record.differences(ours) if "differs by" in line]
    assert [line for line in record.differences(ours * 1.001) if "differs by" in line]
    assert "shape" in next(record.differences(ours[..., 1:]))
