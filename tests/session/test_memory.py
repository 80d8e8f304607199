"""A 12-megapixel photo is edited in at most 3 GiB, measured in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import resource
from stand_in import FAIR, ColourParser, draw, points
from pentimento.session.document import Document, Restyle, Swap
from pentimento.session.editor import Editor
from pentimento.session.faces import Where
from pentimento.structures import Picture

editor = Editor(ColourParser())
photo = editor.assets.keep(Picture(draw(4000, 3000, (2000, 1200), 500)))
other = editor.assets.keep(Picture(draw(1200, 1200, hair=FAIR)))
where = Where(points=points(4000, 3000, (2000, 1200), 500))
there = Where(points=points(1200, 1200))
document = Document(photo, where, (Swap("hair", other, there), Restyle("skin", other, 1.0, there)))
result = editor.render(document, "baseline")
assert result.painted > 1_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_twelve_megapixels_fit_into_three_gibibytes():
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent.parent / "src")])
    ended = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < 3
