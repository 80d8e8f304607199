"""The verbs that train, measure and list."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine import toy
from pentimento.catalog import CATALOG
from pentimento.cli import VERBS, cli
from pentimento.errors import PentimentoError

NEW = ["train", "toy", "--data", "x", "--preset", "tiny", "--workers", "0"]


@pytest.fixture(autouse=True)
def listed() -> Iterator[None]:
    toy.register()
    yield
    del CATALOG["toy"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_train_evaluate_and_list(tmp_path: Path) -> None:
    assert run(*NEW, "--out", tmp_path / "run", "--steps", 3, "--batch-size", 3).exit_code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert (config["steps"], config["batch_size"]) == (3, 3)
    scores = tmp_path / "scores.json"
    shown = run("evaluate", tmp_path / "run", "--data", "x", "--workers", 0, "--json", scores)
    assert shown.exit_code == 0
    error = json.loads(scores.read_text())["error"]
    assert f"{error:.6g}" in shown.output
    assert "a toy for tests" in run("systems").output


def test_init_starts_from_a_models_weights(tmp_path: Path) -> None:
    run(*NEW, "--out", tmp_path / "first", "--steps", 1)
    started = run(*NEW, "--out", tmp_path / "second", "--steps", 1, "--seed", 9,
                  "--init", tmp_path / "first", "--set", "width=4")  # fmt: skip
    assert started.exit_code == 0
    first = (tmp_path / "first" / "checkpoints/step_00000001/networks.safetensors").read_bytes()
    second = (tmp_path / "second" / "checkpoints/step_00000000/networks.safetensors").read_bytes()
    assert len(first) == len(second)
    refused = run(
        *NEW, "--out", tmp_path / "third", "--init", tmp_path / "first", "--set", "width=5"
    )
    assert isinstance(refused.exception, PentimentoError)
    assert "does not fit" in str(refused.exception)


def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path) -> None:
    shown = run(*NEW, "--dry-run", "--out", tmp_path / "run")
    assert shown.exit_code == 0
    for word in ("width", "seed", "parameters", "expected", "21 samples to train on"):
        assert word in shown.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nothing", "--data", "x", "--out", "run"], "no system is called 'nothing'"),
        (["train", "toy", "--data", "x", "--preset", "huge", "--out", "run"], "has no preset"),
        ([*NEW, "--set", "widht=3", "--out", "run"], "widht"),
        ([*NEW, "--set", "width=0", "--out", "run"], "width must be at least 1"),
        (["train", "--resume", "run"], "holds no run"),
        (["evaluate", "run", "--data", "x"], "no model folder"),
    ],
)
def test_mistakes_get_one_message_that_helps(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, PentimentoError)
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["train", "toy"], ["train"], [*NEW, "--resume", "run"]])
def test_incomplete_commands_show_the_usage(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "--resume RUN" in result.output


@pytest.mark.parametrize("verb", ["train", "evaluate", "systems"])
def test_help_has_examples(verb: str) -> None:
    shown = run(verb, "--help").output
    assert "Examples:" in shown
    assert f"  pentimento {verb}" in shown


def test_help_needs_no_torch() -> None:
    lines = [f"cli({words!r}, standalone_mode=False)" for words in (["-h"], ["train", "-h"])]
    code = "; ".join(["import sys", "from pentimento.cli import cli", *lines])
    code += "; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert all(verb in shown.stdout for verb in VERBS)
