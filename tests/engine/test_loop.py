"""A run as a person meets it: what it skips, keeps, tells and refuses."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine import toy
from pentimento import models
from pentimento.catalog import CATALOG
from pentimento.engine import rng
from pentimento.engine.loop import Outcome, fit, rehearse
from pentimento.engine.settings import Settings
from pentimento.errors import DataError, TrainingError

SETTINGS = Settings(
    10, 2, save_every=3, validate_every=2, sheet_every=0, log_every=1, workers=0, patience=3
)
DATA = toy.Faces(21), toy.Faces(5)


@pytest.fixture(autouse=True)
def listed() -> Iterator[None]:
    toy.register()
    yield
    del CATALOG["toy"]


def build(**values: int) -> Any:
    rng.seed(0)
    module = toy.register()
    return module.Toy(module.Config(**values))


def metrics(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_a_run_explains_itself(tmp_path: Path) -> None:
    outcome = fit(build(), tmp_path, *DATA, SETTINGS, about={"data": "faces"})
    assert outcome == Outcome(10, outcome.best, 0, {}, None)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["settings"]["seed"] == 0
    assert record["about"] == {"data": "faces"}
    assert record["versions"]["torch"] == torch.__version__
    assert "commit" in record
    assert json.loads((tmp_path / "config.json").read_text())["config"]["width"] == 4
    assert "step 10 of 10" in (tmp_path / "card.md").read_text()
    assert [line["step"] for line in metrics(tmp_path, "train")] == list(range(1, 11))
    assert {"critic", "l1", "samples_per_s"} <= metrics(tmp_path, "train")[0].keys()
    sheet = np.asarray(Image.open(tmp_path / "samples" / "step_00000010.png"))
    assert sheet.shape == (5 * 8, 2 * 8, 3)
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_best_model_is_the_one_that_validated_best(tmp_path: Path) -> None:
    outcome = fit(build(), tmp_path, *DATA, SETTINGS)
    errors = {line["step"]: line["error"] for line in metrics(tmp_path, "validate")}
    best = min(errors, key=errors.__getitem__)
    assert outcome.best == (best, errors[best])
    assert f"at step {best}" in (tmp_path / "best" / "card.md").read_text()
    latest = models.load(tmp_path)
    assert type(latest).__name__ == "Toy"


def test_measuring_more_often_changes_no_weight(tmp_path: Path) -> None:
    often = replace(SETTINGS, validate_every=1, sheet_every=1, save_every=1, log_every=5)
    fit(build(), tmp_path / "often", *DATA, often)
    fit(build(), tmp_path / "seldom", *DATA, replace(SETTINGS, validate_every=0))
    assert (tmp_path / "often" / models.MODEL_FILE).read_bytes() == (
        tmp_path / "seldom" / models.MODEL_FILE
    ).read_bytes()


def test_the_model_file_holds_the_average(tmp_path: Path) -> None:
    system = build()
    fit(system, tmp_path, *DATA, SETTINGS)
    saved = models.weights(models.load(tmp_path).networks)
    live = models.weights(system.networks)
    assert not saved["generator.0.weight"].equal(live["generator.0.weight"])
    assert saved["critic.bias"].equal(live["critic.bias"])


def test_a_few_bad_steps_are_skipped_and_counted(tmp_path: Path) -> None:
    outcome = fit(build(nan_from=4, nan_to=6), tmp_path, *DATA, SETTINGS)
    assert (outcome.step, outcome.skipped) == (10, 2)
    assert metrics(tmp_path, "train")[-1]["skipped"] == 2
    finite = models.weights(models.load(tmp_path).networks).values()
    assert all(torch.isfinite(tensor.float()).all() for tensor in finite)


def test_validation_during_bad_steps_is_never_the_best(tmp_path: Path) -> None:
    settings = replace(SETTINGS, validate_every=5, steps=6, patience=9)
    outcome = fit(build(nan_from=5, nan_to=7), tmp_path, *DATA, settings)
    assert outcome.skipped == 2
    assert outcome.best is None
    assert not (tmp_path / "best").exists()


def test_too_many_bad_steps_roll_back_and_go_on_with_other_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = build()
    whole, seen = system.train_step, []

    def train_step(batch: Any, update: Any) -> Any:
        seen.append(batch.image.clone())
        if 6 <= len(seen) <= 8:
            update("critic", {"critic": system.networks["critic"](batch.image).mean() / 0.0})
            return {}
        return whole(batch, update)

    system.train_step = train_step
    outcome = fit(system, tmp_path, *DATA, SETTINGS)
    assert "back to step 3" in capsys.readouterr().err
    assert (outcome.step, outcome.skipped) == (10, 3)
    assert len(seen) == 8 + 7
    assert not any(seen[8].equal(earlier) for earlier in seen[:8])


def test_a_poisoned_running_mean_is_not_saved(tmp_path: Path) -> None:
    system = build()
    whole, calls = system.train_step, iter(range(100))

    def train_step(batch: Any, update: Any) -> Any:
        if next(calls) == 4:
            system.networks["generator"](batch.image * float("nan"))
        return whole(batch, update)

    system.train_step = train_step
    outcome = fit(system, tmp_path, *DATA, replace(SETTINGS, validate_every=0))
    assert outcome.step == 10
    mean = models.weights(models.load(tmp_path).networks)["generator.1.running_mean"]
    assert torch.isfinite(mean).all()


def test_a_run_that_diverges_for_good_ends_with_advice(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"after 3 returns .*lower the learning rate"):
        fit(build(nan_from=0, nan_to=999), tmp_path, *DATA, SETTINGS)


def test_broken_samples_are_named_and_the_run_finishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = fit(build(), tmp_path, toy.Faces(40, frozenset({4, 9})), DATA[1], SETTINGS)
    missing = set(outcome.bad)
    assert missing
    assert missing <= {4, 9}
    said = capsys.readouterr().err
    for index in missing:
        assert said.count(f"sample {index} is replaced: OSError: face_{index}.png: truncated") == 1


def test_too_many_broken_samples_end_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of 20 samples could not be read"):
        fit(build(), tmp_path, toy.Faces(20, frozenset(range(5))), DATA[1], SETTINGS)


def test_a_full_disk_for_the_log_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"No space left on device.*--resume"):
        fit(build(), tmp_path, *DATA, SETTINGS)


def test_bf16_keeps_weights_and_losses_in_float32(tmp_path: Path) -> None:
    system, dtypes = build(), set()
    whole = system.train_step

    def train_step(batch: Any, update: Any) -> Any:
        terms = whole(batch, update)
        dtypes.update(value.dtype for value in terms.values())
        return terms

    system.train_step = train_step
    fit(system, tmp_path / "bf16", *DATA, replace(SETTINGS, precision="bf16"))
    fit(build(), tmp_path / "32", *DATA, SETTINGS)
    assert dtypes == {torch.float32}
    weights = models.weights(system.networks)
    assert {t.dtype for t in weights.values()} == {torch.float32, torch.int64}
    saved = [(tmp_path / run / models.MODEL_FILE).read_bytes() for run in ("bf16", "32")]
    assert saved[0] != saved[1]
    assert "forward" not in vars(system.networks["critic"])


def test_accumulation_steps_once_per_group_of_batches(tmp_path: Path) -> None:
    system = build()
    outcome = fit(system, tmp_path, *DATA, replace(SETTINGS, accumulate=3))
    assert outcome.step == 10
    assert system.calls == 30


def test_what_no_optimizer_owns_stays_as_it_was(tmp_path: Path) -> None:
    system = build()
    before = {key: value.clone() for key, value in system.networks["judge"].state_dict().items()}
    fit(system, tmp_path, *DATA, SETTINGS)
    after = system.networks["judge"].state_dict()
    assert all(value.equal(before[key]) for key, value in after.items())


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = rehearse(build(), *DATA, SETTINGS)
    assert found.parameters["critic"] == 49
    assert found.terms.keys() == {"critic", "adversarial", "judge", "l1"}
    assert found.metrics.keys() == {"error"}
    assert found.seconds_per_step > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "devices"])
def test_two_processes_start_from_the_command_line(launcher: str, tmp_path: Path) -> None:
    run, script = tmp_path / "run", str(Path(toy.__file__))
    options = ["--data", "x", "--preset", "tiny", "--accelerator", "cpu", "--out", str(run)]
    if launcher == "torchrun":
        start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", script]
    else:
        start = [sys.executable, script]
        options += ["--devices", "2"]
    subprocess.run([*start, "train", "toy", *options], check=True, timeout=300)
    assert json.loads((run / "run.json").read_text())["processes"] == 2
