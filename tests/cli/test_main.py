"""What the command line sets up before any verb runs."""

import os
import subprocess
import sys

import pytest

_LOADS_TORCH = """
import sys
from pentimento.cli import main
sys.argv = ["pentimento", "--version"]
try:
    main()
except SystemExit:
    import torch
"""


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP, which says what it obeys")
@pytest.mark.parametrize(
    ("own", "obeyed"),
    [
        ({}, "GOMP_SPINCOUNT = '1000'"),
        ({"GOMP_SPINCOUNT": "5"}, "GOMP_SPINCOUNT = '5'"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "OMP_WAIT_POLICY = 'ACTIVE'"),
    ],
)
def test_threads_fall_asleep_soon_unless_a_person_says_otherwise(
    own: dict[str, str], obeyed: str
) -> None:
    said = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    surroundings = {k: v for k, v in os.environ.items() if k not in said}
    told = subprocess.run(
        [sys.executable, "-c", _LOADS_TORCH],
        env={**surroundings, **own, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert obeyed in told.stderr
    assert ("GOMP_SPINCOUNT = '1000'" in told.stderr) == (not own)
