"""The table of claims: one trial run, gone on with, and what its table says."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from pentimento.errors import DataError
from pentimento.world.export import Request, export_portraits

ROOT = Path(__file__).parents[2]


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import claims

    return claims


def names_of(claims: ModuleType) -> set[str]:
    return {name for claim in claims.CLAIMS.values() for name in claim.variants}


def test_the_table_has_means_and_each_seed(claims: ModuleType) -> None:
    rows = [
        {name: {"nme": n, "ap": n, "mflop": 9.0, "gflop": 9.0, "rate": 9.0, "seconds": 5.0}
         for name in names_of(claims)}
        for n in (0.25, 0.75)
    ]  # fmt: skip
    table = claims.table({"0": rows[0], "1": rows[1]})
    assert "| the mean face, no network | NME 0.50 % (0.25 / 0.75) | 9 MFLOP | 5 |" in table
    assert "| centernet | AP 0.500 (0.250 / 0.750) | 9 pictures/s | 5 |" in table
    assert len(table.splitlines()) == 2 + len(names_of(claims))
    assert "AP 0.250 |" in claims.table({"0": rows[0]})


def test_results_of_another_budget_are_not_mixed_in(claims: ModuleType, tmp_path: Path) -> None:
    small, large = (claims.Budget("a", "b", "c", share) for share in (0.1, 1.0))
    file = tmp_path / "claims.json"
    assert claims.kept(file, small) == {}
    budget = {"portraits": "a", "scenes": "b", "crowds": "c", "share": 0.1}
    file.write_text(json.dumps({"budget": budget, "results": {"0": {}}}))
    assert claims.kept(file, small) == {"0": {}}
    with pytest.raises(DataError, match="another --out"):
        claims.kept(file, large)


@pytest.mark.slow
def test_everything_is_measured_and_a_stopped_run_continues(
    claims: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENTIMENTO_CACHE", str(tmp_path / "cache"))
    assert len(list(export_portraits(tmp_path / "faces", 12, Request(size=64)))) == 12
    words = [
        "--portraits", str(tmp_path / "faces"), "--scenes", "world:count=4",
        "--crowds", str(tmp_path / "faces"), "--share", "0.001", "--seeds", "1",
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    measured: list[str] = []
    whole = claims.landmarks.measure

    def stops(name: str, *rest: object) -> object:
        measured.append(name)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return whole(name, *rest)

    monkeypatch.setattr(claims.landmarks, "measure", stops)
    assert CliRunner().invoke(claims.main, words).exit_code == 1
    done = CliRunner().invoke(claims.main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert len(measured) == len(set(measured)) + 1  # the one that was stopped is measured again
    kept = json.loads((tmp_path / "out" / "claims.json").read_text())["results"]["0"]
    assert set(kept) == names_of(claims)
    assert all("rate" in kept[name] for name in claims.box_detectors.NAMES)
    assert all(sys.float_info.min < kept[name]["seconds"] for name in measured)
    assert "pictures/s" in done.output
