"""The direction of imports that DESIGN keeps: from the page a person sees down to plain data."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "pentimento"

BASE = {"structures", "labels", "errors"}
MAY_IMPORT = {
    "labels": set(),
    "errors": set(),
    "structures": {"labels"},
    "ops": BASE,
    "files": BASE | {"ops"},
    "metrics": BASE | {"ops", "losses"},
    "world": BASE | {"ops", "files"},
    "data": BASE | {"ops", "files", "world"},
    "nn": BASE | {"ops"},
    "losses": BASE | {"ops", "nn"},
    "config": {"errors"},
    "engine": BASE | {"ops", "models", "config", "catalog"},
    "weights": set(),
    "catalog": set(),
    "models": {"catalog", "config", "errors", "engine"},
    "systems": BASE | {"ops", "nn", "losses", "data", "metrics", "engine", "models"},
    "compat": BASE | {"ops", "nn", "losses", "systems", "models", "catalog", "engine"},
    "runtime": BASE | {"ops", "nn", "systems", "models", "engine"},
    "session": BASE
    | {"ops", "files", "world", "metrics", "systems", "models", "runtime", "catalog"},
    "studio": BASE | {"files", "ops", "session"},
}


def unit(path: Path) -> str:
    """`session/faces.py` → `session`; `models.py` → `models`."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[0]


def imported_units(path: Path) -> set[str]:
    units = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "pentimento":
                names = [f"pentimento.{alias.name}" for alias in node.names]
        units |= {name.split(".")[1] for name in names if name.startswith("pentimento.")}
    return units


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE))
)
def test_imports_point_one_way(path):
    allowed = MAY_IMPORT.get(unit(path))
    if allowed is None:  # the command line and the package's front may use everything
        assert unit(path) in {"cli", "__init__", "__main__"}, f"give {unit(path)} a place"
        return
    beyond = imported_units(path) - allowed - {unit(path)}
    assert not beyond, f"{path.relative_to(SOURCE)} must not import {sorted(beyond)}"


@pytest.mark.parametrize("package", ["data", "world", "files", "metrics"])
def test_packages_below_the_networks_do_not_import_torch_networks(package):
    for path in (SOURCE / package).rglob("*.py"):
        assert "torch.nn" not in path.read_text(), f"{path.name} holds a network"


@pytest.mark.parametrize("statement", ["import pentimento", "import pentimento.cli"])
def test_the_front_door_opens_without_torch(statement):
    probe = f"{statement}; import sys; print([m for m in ('torch', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_has_a_name_that_says_nothing():
    vague = {"utils", "helpers", "common", "misc"}
    assert not [p for p in SOURCE.rglob("*.py") if p.stem in vague]


def test_pickle_is_not_reachable_in_source():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        assert "import pickle" not in text, path
        if "torch.load(" in text:
            assert path.relative_to(SOURCE).parts[0] == "compat", path
            assert text.count("torch.load(") == text.count("weights_only=True"), path
