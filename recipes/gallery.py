"""The gallery: edits of portraits of many skin tones and ages, failures included.

    python recipes/gallery.py --data DATA --out docs

DATA holds `faker_portraits` (AI-made, CC0); scikit-image brings the astronaut. No other person's
photo is published. Writes OUT/gallery.md and OUT/gallery/*.jpg. What the captions say
of each result was written by a person who looked at it; look again when models or code change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

from pentimento.files.compose import to_rgb8
from pentimento.labels import CELEBAMASK19
from pentimento.ops.align import crop_to_picture
from pentimento.ops.regions import Labels
from pentimento.ops.reshape import fuller, opened, smiling, stretched
from pentimento.ops.warp import cut
from pentimento.session.document import Command, Document, Reshape, Restyle, Swap
from pentimento.session.editor import Editor
from pentimento.session.faces import LARGEST
from pentimento.session.models import load_parser, load_portrait
from pentimento.session.view import View, zoomed
from pentimento.structures import LabelMap, Picture

ABOUT: Final = "gallery: 24 edits of photos, docs/gallery.md; about 5 minutes on a core"
_ASTRONAUT: Final = "astronaut"
_TILE: Final = 216  # px
_PAPER: Final = 248
_QUALITY: Final = 76

Reshaper = Callable[[Labels], Labels]


@dataclass(frozen=True)
class Plate:
    """One edit.

    Attributes:
        title: what was asked for.
        photo: path below DATA, or `astronaut`.
        verb: what is done.
        region: of `labels.REGIONS`.
        other: where shape or look come from.
        shape: label map → edited label map, of a reshape.
        amount: of a restyle.
        who: the sitter in words; of an AI-made portrait, the words it was made from.
        verdict: what a person sees in the result.
    """

    title: str
    photo: str
    verb: Literal["swap", "restyle", "reshape"]
    region: str
    who: str
    verdict: str = ""
    other: str = ""
    shape: Reshaper | None = None
    amount: float = 1.0


def brows_raised(labels: Labels) -> Labels:
    """Return a mask with both brows lifted."""
    lifted = stretched(labels, "left_brow", 1.0, 1.0, up=0.06)
    return stretched(lifted, "right_brow", 1.0, 1.0, up=0.06)


def eyes_larger(labels: Labels) -> Labels:
    """Return a mask with both eyes enlarged."""
    return stretched(stretched(labels, "left_eye", 1.2, 1.35), "right_eye", 1.2, 1.35)


def nose_narrower(labels: Labels) -> Labels:
    """Return a mask with a narrower nose."""
    return stretched(labels, "nose", 0.78, 1.0)


def _faker(name: str) -> str:
    folder, number = ("female", name[1:]) if name[0] == "f" else ("male", name[1:])
    return f"faker_portraits/{folder}/{number}.jpg"


PLATES: Final = (
    Plate("Hair of another woman", _faker("f11"), "swap", "hair", "49-year-old from Slovakia",
          "Acceptable. Curls and light arrive; a sliver of blouse shows beside the cheek, and the "
          "wall is smudged where her own hair was.",
          other=_faker("f47")),
    Plate("Hair for a balding man", _faker("m54"), "swap", "hair", "43-year-old from Ireland",
          "Good.",
          other=_faker("m2")),
    Plate("Eyes of another woman", _faker("f68"), "swap", "eyes", "20-year-old from Turkmenistan",
          "Good. Shape and colour arrive, the skin around them stays hers.",
          other=_faker("f56")),
    Plate("Mouth of another man", _faker("m21"), "swap", "mouth", "20-year-old from Gambia",
          "Acceptable. Shape and tone fit; the corners end in dark points.",
          other=_faker("m49")),
    Plate("A smile, by its mask", _ASTRONAUT, "reshape", "mouth", "Eileen Collins, a photograph",
          "Good. Lips and teeth follow the wider mask.",
          shape=smiling),
    Plate("The mouth opened", _faker("f60"), "reshape", "mouth", "32-year-old from Ivory Coast",
          "Acceptable. Nobody knows her teeth: a mouth that was shut gets drawn ones, greyish "
          "and even.",
          shape=opened),
    Plate("Brows raised", _faker("m73"), "reshape", "brows", "79-year-old from India",
          "Acceptable. The skin moves with the brows; they thicken, and a shadow stays where they "
          "were.",
          shape=brows_raised),
    Plate("Nose narrower", _faker("m12"), "reshape", "nose", "34-year-old from Kyrgyzstan",
          "Acceptable. The nose is narrower without a crease, and a little softer than the cheeks.",
          shape=nose_narrower),
    Plate("Fuller hair", _faker("m65"), "reshape", "hair", "69-year-old from Hungary",
          "Good. The new hair goes on in the old one's direction and shade.",
          shape=fuller),
    Plate("Lips of another woman", _faker("f31"), "restyle", "lips", "39-year-old from Brunei",
          "Good. The red becomes the other's paler pink, the shape stays.",
          other=_faker("f78")),
    Plate("Skin of another man", _faker("m90"), "restyle", "skin", "40-year-old from Luxembourg",
          "Good, and hard to see: the skin is a little less red, the beard stays grey.",
          other=_faker("m16"), amount=0.8),
    Plate("Hair colour of another woman", _faker("f72"), "restyle", "hair",
          "35-year-old from Colombia",
          "Acceptable. Blond with dark roots; the hairline glows orange, an end stays dark, and a "
          "bright rim shows against the leaves.",
          other=_faker("f38")),
    Plate("Hair for a shaven man", _faker("m41"), "swap", "hair", "41-year-old from Norway",
          "Good, but for a blue scrap of the other's collar, taken for hair.", other=_faker("m52")),
    Plate("Hair of a younger woman", _faker("f33"), "swap", "hair",
          "63-year-old from the Faroe Islands",
          "Half good. The hair sits well; but specks of the old fringe stay on the forehead, its "
          "tips keep the red of the other's jacket, and its edge is pale.",
          other=_faker("f70")),
    Plate("Eyes of a younger man", _faker("m92"), "swap", "eyes", "87-year-old from Togo",
          "Good. Only the eyes change.", other=_faker("m36")),
    Plate("Eyes of another woman again", _faker("f36"), "swap", "eyes", "35-year-old from Bulgaria",
          "Good.", other=_faker("f88")),
    Plate("Mouth of another woman", _faker("f19"), "swap", "mouth", "65-year-old from Brunei",
          "Acceptable. Full lips, redder than the other's; a grey band runs below them.",
          other=_faker("f62")),
    Plate("A smile for an old man", _faker("m92"), "reshape", "mouth", "87-year-old from Togo",
          "Acceptable. The corners rise, the wrinkles about them do not follow.", shape=smiling),
    Plate("Brows raised, dark skin", _faker("m84"), "reshape", "brows",
          "38-year-old from the Central African Republic",
          "Acceptable. The brows rise and thicken; a shadow stays below them, and the highlight "
          "above is stretched.",
          shape=brows_raised),
    Plate("Eyes larger", _faker("f88"), "reshape", "eyes", "30-year-old from Slovenia",
          "Good.", shape=eyes_larger),
    Plate("Nose narrower, dark skin", _faker("f44"), "reshape", "nose",
          "27-year-old from Ivory Coast", "Good.", shape=nose_narrower),
    Plate("Fuller hair, an old woman", _faker("f52"), "reshape", "hair", "74-year-old from the USA",
          "Good, but for a tinge of pink on the crown.", shape=fuller),
    Plate("Lips of another woman, dark skin", _faker("f97"), "restyle", "lips",
          "24-year-old from Jamaica",
          "Half good. The colour arrives, a little too purple, and spills over a corner of the "
          "mouth: its mask is too wide.",
          other=_faker("f19")),
    Plate("Skin of another woman", _faker("f70"), "restyle", "skin", "38-year-old from Ireland",
          "Acceptable. Darker as asked and even; the neck turns redder than the face.",
          other=_faker("f62"), amount=0.8),
)  # fmt: skip


def picture_of(data: Path, name: str) -> Picture | str:
    """Return the sitter's picture, or its path."""
    if name != _ASTRONAUT:
        return str(data / name)
    return Picture(astronaut(), name=name)  # type: ignore[no-untyped-call]  # no types there


def render(editor: Editor, plate: Plate, data: Path) -> Image.Image:
    """Return a strip: before, mask before, mask after, the other picture if any, after."""
    name = editor.assets.keep(picture_of(data, plate.photo))
    view = editor.view(name)
    command: Command
    if plate.verb == "reshape":
        assert plate.shape is not None
        wanted = LabelMap(plate.shape(view.label_map.values))
        command = Reshape(editor.assets.keep(wanted))
    else:
        other = editor.assets.keep(picture_of(data, plate.other))
        if plate.verb == "swap":
            command = Swap(plate.region, other)
        else:
            command = Restyle(plate.region, other, plate.amount)
    result = editor.render(Document(name, LARGEST, (command,)))
    tiles = [
        _tile(view.rgb, view),
        _mask_tile(view.label_map, view),
        _mask_tile(result.mask, view),
        _tile(to_rgb8(result.picture), view),
    ]
    if plate.other:
        theirs = editor.view(editor.assets.keep(picture_of(data, plate.other)))
        tiles[2 if plate.verb == "restyle" else 1] = _tile(theirs.rgb, theirs)
    gap = 8
    strip = Image.new("RGB", (4 * _TILE + 3 * gap, _TILE), (_PAPER,) * 3)
    for number, tile in enumerate(tiles):
        strip.paste(Image.fromarray(tile), (number * (_TILE + gap), 0))
    return strip


def _matrix(view: View) -> NDArray[np.float64]:
    return crop_to_picture(zoomed(view.face.quad, 1.12), _TILE)


def _tile(rgb: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    crop = cut(rgb, _matrix(view), _TILE, outside=_PAPER)
    return np.rint(crop).clip(0, 255).astype(np.uint8)


def _mask_tile(mask: LabelMap, view: View) -> NDArray[np.uint8]:
    palette = np.array(CELEBAMASK19.colours, np.uint8)
    palette[0] = (38, 38, 42)
    return _tile(palette[mask.values], view)


def page(plates: list[tuple[Plate, str]]) -> str:
    """Return the page."""
    lines = [
        "# Gallery",
        "",
        "Edits by the bundled weights, one command each, made by `python recipes/gallery.py --data "
        "DATA --out docs`. Sitters are AI-made portraits (faker, CC0) and scikit-image's "
        "astronaut (NASA, public domain). Failures stay in.",
        "",
        "Each strip: before · mask or the other picture · mask that was asked for, or the other "
        "picture · after.",
    ]
    for plate, file in plates:
        how = {"reshape": "--mask edited.png"}.get(
            plate.verb, f"--{plate.verb} {plate.region}=other.jpg"
        )
        lines += [
            "",
            f"## {plate.title}",
            "",
            f"![{plate.title}: {plate.who}](gallery/{file})",
            "",
            f"`pentimento edit photo.jpg {how}`, {plate.who}. **Verdict:** {plate.verdict}",
        ]
    return "\n".join(lines) + "\n"


def _about(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(ABOUT)
        context.exit()


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs"), show_default=True)
@click.option("--parser", type=click.Path(path_type=Path), help="Face parser; else the bundled.")
@click.option("--model", type=click.Path(path_type=Path), help="Generator; else the bundled.")
@click.option("--only", type=int, help="Render one plate, counted from 1.")
@click.option("--about", is_flag=True, is_eager=True, expose_value=False,
              callback=_about,
              help="Say in one line what this makes and what it costs.")  # fmt: skip
def main(data: Path, out: Path, parser: Path | None, model: Path | None, only: int | None) -> None:
    """Render all plates and write the page."""
    folder = out / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    editor = Editor(load_parser(parser), load_portrait(model))
    shown = []
    for number, plate in enumerate(PLATES, 1):
        file = f"{number:02}-{plate.title.lower().replace(',', '').replace(' ', '-')}.jpg"
        shown.append((plate, file))
        if only in (None, number):
            strip = render(editor, plate, data)
            strip.save(folder / file, quality=_QUALITY, subsampling=1, optimize=True)
            click.echo(f"{file}  {plate.verb} {plate.region}")
    (out / "gallery.md").write_text(page(shown), encoding="utf-8")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
