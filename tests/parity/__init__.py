"""Equality with the official implementations, network by network.

`fixture.py` reads a recorded fixture and rebuilds its weights and inputs from their recipe;
`counterparts/` says, for each fixture name, which of our networks answers it; `test_parity.py`
compares. `PENTIMENTO_PARITY=DIR` takes the fixtures of another folder (same family subfolders):
other salts, other sizes, the same tests.
"""
