"""A run that is killed and continued ends with the bits of one that was not."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from engine.runs import bits, train

NEW = ("toy", "--data", "x", "--preset", "tiny", "--save-every", 4, "--validate-every", 5)
FAST = ("--sheet-every", 0, "--accelerator", "cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(*NEW, *FAST, "--out", run).status == (0,)
    return run


@pytest.mark.parametrize(
    "step", [7, 12, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 3, 4, 5, 9))]
)
def test_resumed_run_is_bit_equal_when_killed_at_step(
    step: int, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    killed = train(*NEW, *FAST, "--workers", 2, "--out", run, toy_kill_at=step)
    assert killed.status == (-signal.SIGKILL,)
    assert train("--workers", step % 2, "--resume", run).status == (0,)
    assert bits(run) == bits(whole)


# Files are written in this order: run.json and a model (1-4), step 0: seven of the checkpoint and
# three of the model (5-14), step 4 (15-24), the best model at step 5 (25-27), step 8 (28-37), …
@pytest.mark.parametrize(
    "write", [19, 23, *(pytest.param(w, marks=pytest.mark.slow) for w in range(12, 38))]
)
def test_resumed_run_is_bit_equal_when_killed_in_a_write(
    write: int, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    killed = train(*NEW, *FAST, "--workers", 0, "--out", run, kill_write=write)
    assert killed.status == (-signal.SIGKILL,)
    assert train("--workers", 0, "--resume", run).status == (0,)
    assert bits(run) == bits(whole)
    assert not list(run.glob("checkpoints/.*"))


def test_what_was_killed_before_its_first_checkpoint_starts_again(
    whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert train(*NEW, *FAST, "--out", run, kill_write=9).status == (-signal.SIGKILL,)
    assert train(*NEW, *FAST, "--out", run).status == (0,)
    assert bits(run) == bits(whole)


def test_a_worker_killed_in_training_ends_the_run_with_advice(tmp_path: Path) -> None:
    ended = train("toy", "--data", "deadly", "--preset", "tiny", *FAST, "--out", tmp_path / "run")
    assert ended.status == (2,)
    assert "a data worker died" in ended.said
    assert "--resume" in ended.said


def test_two_ranks_resume_bit_equal(whole: Path, tmp_path: Path) -> None:
    once, run = tmp_path / "once", tmp_path / "run"
    assert train(*NEW, *FAST, "--out", once, ranks=2).status == (0, 0)
    killed = train(*NEW, *FAST, "--out", run, ranks=2, kill_rank=0, toy_kill_at=7)
    assert killed.status == (-signal.SIGKILL, 2)
    assert "another process of this run has ended" in killed.said
    assert train("--resume", run, ranks=2).status == (0, 0)
    assert bits(run) == bits(once)
    assert bits(run).keys() - bits(whole).keys() == {"step_00000012/rank_1.safetensors"}
    state = bits(run)
    assert state["step_00000012/rank_0.safetensors"] != state["step_00000012/rank_1.safetensors"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_continue(
    number: signal.Signals, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = train(*NEW, *FAST, "--out", run, toy_kill_at=6, toy_signal=int(number))
    assert ended.status == (128 + number,)
    assert f"stopped at step 6; continue with: pentimento train --resume {run}" in ended.said
    assert (run / "checkpoints" / "step_00000006").is_dir()
    assert train("--resume", run).status == (0,)
    assert bits(run) == bits(whole)


def test_a_signal_to_one_rank_stops_both(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = train(
        *NEW, *FAST, "--out", run, ranks=2, kill_rank=1, toy_kill_at=3, toy_signal=signal.SIGTERM
    )
    assert ended.status == (128 + signal.SIGTERM,) * 2
    assert (run / "checkpoints" / "step_00000003").is_dir()


@pytest.mark.parametrize("harm", ["truncated", "flipped", "missing"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_used(
    harm: str, whole: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    victim = run / "checkpoints" / "step_00000012" / "optimizers.safetensors"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes({"truncated": data[:-1], "flipped": data, "missing": b""}[harm])
    if harm == "missing":
        victim.unlink()
    ended = train("--resume", run)
    assert ended.status == (0,)
    assert f"refused: {victim.parent}" in ended.said
    assert "at step 8" in ended.said
    assert bits(run) == bits(whole)


def test_no_valid_checkpoint_is_a_clear_error(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    for manifest in run.glob("checkpoints/*/manifest.json"):
        manifest.write_text("{")
    ended = train("--resume", run)
    assert ended.status == (2,)
    assert "step_00000008 is incomplete" in ended.said
    assert "Traceback" not in ended.said


def test_changes_are_listed_and_need_consent(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    ended = train("--steps", 14, "--data", "y", "--resume", run)
    assert ended.status == (2,)
    assert 'about.data: "x" → "y"' in ended.said
    assert "settings.steps: 12 → 14" in ended.said
    assert train("--steps", 14, "--accept-config-change", "--resume", run).status == (0,)
    assert (run / "checkpoints" / "step_00000014").is_dir()


def test_an_edited_configuration_is_a_change(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    described = json.loads((run / "config.json").read_text())
    described["config"]["nan_from"] = 3
    (run / "config.json").write_text(json.dumps(described))
    ended = train("--resume", run)
    assert ended.status == (2,)
    assert "config.nan_from: -1 → 3" in ended.said


def test_a_new_run_never_overwrites_one(whole: Path) -> None:
    before = bits(whole)
    ended = train(*NEW, *FAST, "--out", whole)
    assert ended.status == (2,)
    assert f"--resume {whole}" in ended.said
    assert bits(whole) == before


def test_metrics_hold_every_step_once_after_a_kill(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(*NEW, *FAST, "--log-every", 1, "--out", run, toy_kill_at=7)
    train("--resume", run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 13))
    assert [line["step"] for line in lines if line["kind"] == "validate"] == [5, 10, 12]
