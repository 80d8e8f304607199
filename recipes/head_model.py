"""Learns the statistical head of the world from MakeHuman's CC0 files.

    python recipes/head_model.py MAKEHUMAN_DIR src/pentimento/weights/head

MAKEHUMAN_DIR holds `base.obj` and `targets_head.tar.xz` (or a folder `targets`). About a minute on
one core. OUT receives `model.safetensors`, `config.json` and `card.md`.
"""

from pathlib import Path

import click
import numpy as np

from pentimento.world.heads import Heads, load_heads, save_heads
from pentimento.world.makehuman import EYE_SCALE, learn_heads

ABOUT = "statistical head, weights/head: about a minute on one core"
CARD = """# The statistical head of the world

A linear model of human heads for `pentimento.world`: it draws training pictures; it describes no
real person and measures none.

- **Made from** the base mesh and the morph targets of MakeHuman (makehumancommunity.org), drawn by
  artists, not scanned. Revision c900dfd (2017) of the asset repository.
- **Licence of the data and of this model**: CC0 1.0. The project placed "the base mesh" and
  "targets and modifiers" under CC0 in September 2020; the files used here are of an older revision
  of the same project (its present ones live elsewhere), and the statement names them in general.
- **Command**: `python recipes/head_model.py MAKEHUMAN_DIR src/pentimento/weights/head`
  ({people} random people, seed {seed}).
- **Hardware and time**: one core of an x86-64 machine, about a minute.
- **Contents**: {vertices} vertices and {triangles} triangles of head and shoulders with named parts
  and UVs; {components} principal components (int16, one scale each), which explain
  {explained:.2%} of the weighted variance (face 1, skull 0.6, rest 0.2); regression of their codes
  on products of ethnic group, sex, age and weight; {units} expression units, each the mean over the
  drawn ethnic, sex and age variants; {fields} fields over the skin; anchors of 68 and 98 landmarks.
- **Changed on the way**: arms turned down; eyes and sockets enlarged by {eyes} because the source's
  lids are a quarter too narrow; the viewer's left and right renamed to the subject's; lashes, inner
  eyeballs and back teeth left out; everything placed so that the faces' centres coincide.
- **Size**: {size:.1f} MB. Rounding to int16 moves no vertex of {checked} test heads by more than
  {rounding:.4f} mm.

## Known limits

- Artists' shapes: real faces spread wider than these, and "african", "asian", "caucasian" are three
  coarse directions of the source, not a description of people.
- Expressions are the same displacements on every identity, so strong ones can look stiff; skin does
  not wrinkle.
- Below ten and above seventy years the shape no longer changes.
- Landmarks were placed by geometric rules on the base mesh and looked at; they are not annotators'
  habits.
"""


def write_card(heads: Heads, folder: Path) -> None:
    """Write the card beside a saved model, with the error that the saving caused."""
    again = load_heads(folder)
    rng = np.random.default_rng(0)
    people = [heads.sample(rng) for _ in range(20)]
    error = max(float(np.abs(heads.vertices(p) - again.vertices(p)).max()) for p in people)
    text = CARD.format(
        **heads.facts,
        eyes=EYE_SCALE,
        vertices=len(heads.neutral),
        triangles=len(heads.triangles),
        components=len(heads.components),
        explained=heads.facts["variance_explained"],
        units=len(heads.units),
        fields=len(heads.fields),
        size=(folder / "model.safetensors").stat().st_size / 1e6,
        checked=len(people),
        rounding=100 * error,
    )
    (folder / "card.md").write_text(text, encoding="utf-8")


@click.command(help=__doc__)
@click.argument("makehuman_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--people", default=2500, show_default=True, help="Random people to learn from.")
@click.option("--components", default=60, show_default=True, help="Components to keep.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random people.")
def main(makehuman_dir: Path, out: Path, people: int, components: int, seed: int) -> None:
    """Learn, save, describe."""
    heads = learn_heads(makehuman_dir, people=people, components=components, seed=seed)
    save_heads(heads, out)
    write_card(heads, out)
    print(f"{out}: {heads.facts}")


if __name__ == "__main__":
    main()
