"""What the command line sets up before any verb runs."""

import os
import subprocess
import sys

import pytest

_VERSION = """
import os, sys
from pentimento.cli import main
assert "torch" not in sys.modules  # whose threads read this once, when it is loaded
sys.argv = ["pentimento", "--version"]
try:
    main()
except SystemExit:
    print(os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("own", "obeyed"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_threads_fall_asleep_soon_unless_a_person_says_otherwise(
    own: dict[str, str], obeyed: str
) -> None:
    said = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    surroundings = {k: v for k, v in os.environ.items() if k not in said}
    told = subprocess.run(
        [sys.executable, "-c", _VERSION],
        env=surroundings | own,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split()[-1] == obeyed
