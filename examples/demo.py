"""The main job on two portraits: see, change, repaint. `make demo` runs it; look at out/demo/.

The photo is scikit-image's astronaut (Eileen Collins, NASA, public domain); the other face is
rendered by `pentimento.world`. Three edits: a smile by an edited mask, the other's hair, the
other's lips.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.data import astronaut

import pentimento as pt
from pentimento.files.masks import overlay, save_mask
from pentimento.files.pictures import save_picture
from pentimento.world.portraits import portrait

RGB = NDArray[np.uint8]
PAPER, INK, GREY = (250, 249, 246), (30, 30, 34), (120, 120, 126)
TILE, GAP, MARGIN = 296, 20, 44


def smiling(labels: pt.LabelMap) -> pt.LabelMap:
    """Return the label map with the corners of the mouth raised and drawn apart."""
    values = labels.values
    lips = labels.mask("mouth", "u_lip", "l_lip")
    face = lips | labels.mask("skin")
    y, x = np.nonzero(lips)
    middle_x, middle_y, half = x.mean(), y.mean(), np.ptp(x) / 2
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]].astype(np.float32)
    u, v = (columns - middle_x) / half, (rows - middle_y) / half
    near = np.exp(-6 * np.maximum(np.abs(u) - 1, 0) ** 2 - 1.2 * v**2)
    from_x = middle_x + (columns - middle_x) / (1 + 0.2 * near)
    from_y = rows + half * (0.34 * np.minimum(u**2, 1.4) - 0.06) * near
    moved = cv2.remap(
        values, from_x.astype(np.float32), from_y.astype(np.float32), cv2.INTER_NEAREST
    )
    new = np.isin(moved, labels.labels.values("mouth", "u_lip", "l_lip"))
    result = values.copy()
    result[lips & ~new] = labels.labels.value("skin")
    result[new & face] = moved[new & face]
    return pt.LabelMap(result, labels.labels)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the clean sans that Pillow carries."""
    return ImageFont.load_default(size)


def cropped(rgb: RGB, box: tuple[int, int, int, int]) -> Image.Image:
    """Return a tile that shows the box."""
    return Image.fromarray(rgb).resize((TILE, TILE), Image.Resampling.LANCZOS, box=box)


def contact_sheet(
    title: str, line: str, rows: list[tuple[str, str, list[tuple[str, Image.Image]]]]
) -> Image.Image:
    """Lay out rows of captioned tiles under a title."""
    columns = max(len(tiles) for _, _, tiles in rows)
    label = 210
    width = 2 * MARGIN + label + columns * TILE + (columns - 1) * GAP
    top = 138
    pitch = TILE + 58
    sheet = Image.new("RGB", (width, top + len(rows) * pitch + MARGIN // 2), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 34), title, INK, font(38))
    draw.text((MARGIN, 86), line, GREY, font(17))
    for index, (name, words, tiles) in enumerate(rows):
        y = top + index * pitch
        draw.line((MARGIN, y - 14, width - MARGIN, y - 14), (222, 220, 214), 1)
        draw.text((MARGIN, y + 4), name, INK, font(23))
        draw.multiline_text((MARGIN, y + 42), words, GREY, font(15), spacing=7)
        for column, (caption, tile) in enumerate(tiles):
            x = MARGIN + label + column * (TILE + GAP)
            sheet.paste(tile, (x, y))
            draw.text((x, y + TILE + 7), caption, GREY, font(15))
    return sheet


def main() -> None:
    """Run the demo."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out/demo"))
    options.add_argument("--seed", type=int, default=7, help="of the portrait that is rendered")
    options.add_argument("--parser", help="folder of a face parser; default: the bundled one")
    options.add_argument("--model", help="folder of a portrait generator; default: the bundled one")
    chosen = options.parse_args()
    out: Path = chosen.out
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    def say(stage: str, what: str, since: float) -> None:
        print(f"{stage:<10} {what:<58} {time.perf_counter() - since:6.2f} s")

    now = time.perf_counter()
    photo, other = out / "photo.png", out / "other.png"
    save_picture(pt.Picture(astronaut(), name="photo"), photo)
    save_picture(pt.Picture(portrait(chosen.seed, 512).picture, name="other"), other)
    say("pictures", f"{photo}, {other} (rendered from seed {chosen.seed})", now)

    parses = {}
    for path in (photo, other):
        now = time.perf_counter()
        parses[path] = pt.parse(path, parser=chosen.parser)
        mask = out / f"{path.stem}_mask.png"
        save_mask(parses[path], mask)
        seen = overlay(pt.open(path).pixels, parses[path])
        save_picture(pt.Picture(seen), out / f"{path.stem}_overlay.png")
        say("parse", f"{mask} and its overlay", now)

    smile = smiling(parses[photo])
    save_mask(smile, out / "smile_mask.png")
    edit = pt.edit(photo, model=chosen.model, parser=chosen.parser)
    edits = {
        "smile": edit.reshape(smile),
        "hair": edit.swap("hair", other),
        "lips": edit.restyle("lips", other),
        "all": edit.reshape(smile).swap("hair", other).restyle("lips", other),
    }
    results = {}
    for name, job in edits.items():
        now = time.perf_counter()
        results[name] = result = job.render()
        result.save(out / f"{name}.png")
        result.save_mask(out / f"{name}_mask.png")
        stages = ", ".join(f"{stage} {took:.2f}" for stage, took in result.timings.items())
        say("edit", f"{out / name}.png by the {result.painter}", now)
        print(f"{'':<10} {stages}")
        for notice in dict.fromkeys(result.notices):
            print(f"{'':<10} note: {notice}")

    now = time.perf_counter()
    sheet = out / "contact_sheet.png"
    lay_out(photo, other, parses, results).save(sheet)
    say("sheet", str(sheet), now)
    print(
        f"\n{len(list(out.iterdir()))} files in {out}, {time.perf_counter() - start:.1f} s in all"
    )


def lay_out(
    photo: Path, other: Path, parses: dict[Path, pt.LabelMap], results: dict[str, pt.Result]
) -> Image.Image:
    """Return the contact sheet of the demo."""
    source, rendered = pt.open(photo).pixels, pt.open(other).pixels
    ys, xs = np.nonzero(parses[photo].values)
    side = int(1.25 * max(np.ptp(xs), np.ptp(ys)))
    x0 = int(np.clip((xs.min() + xs.max() - side) // 2, 0, source.shape[1] - side))
    y0 = int(np.clip((ys.min() + ys.max() - side) // 2, 0, source.shape[0] - side))
    box = (x0, y0, x0 + side, y0 + side)
    whole = (0, 0, rendered.shape[1], rendered.shape[0])

    def masked(picture: RGB, labels: pt.LabelMap) -> Image.Image:
        return cropped(overlay(picture, labels), box)

    def row(name: str, key: str, words: str) -> tuple[str, str, list[tuple[str, Image.Image]]]:
        result = results[key]
        difference = np.abs(result.picture.pixels.astype(int) - source).max(2)
        touched = np.repeat((255 - np.minimum(255, 3 * difference))[..., None], 3, 2)
        share = 100 * result.painted / result.weight.size
        tiles = [
            ("before", cropped(source, box)),
            ("mask after the edit", masked(result.picture.pixels, result.mask)),
            ("after", cropped(result.picture.pixels, box)),
            (f"what changed ({share:.1f} % of the photo)", cropped(touched.astype(np.uint8), box)),
        ]
        return name, words, tiles

    first = [
        ("the photo", Image.fromarray(source).resize((TILE, TILE), Image.Resampling.LANCZOS)),
        ("its parse", masked(source, parses[photo])),
        ("the other portrait", cropped(rendered, whole)),
        ("its parse", cropped(overlay(rendered, parses[other]), whole)),
    ]
    painter = results["all"].painter
    return contact_sheet(
        "Pentimento",
        f"See a portrait, change a region, repaint it.  Painted by the {painter}; "
        "white in the last column is byte-equal to the photo.",
        [
            ("See", "pentimento parse\nphoto.png -o mask.png", first),
            row("Reshape", "smile", "edit photo.png\n--mask smile_mask.png"),
            row("Swap", "hair", "edit photo.png\n--swap hair=other.png"),
            row("Restyle", "lips", "edit photo.png\n--restyle lips=other.png"),
            row("All three", "all", "in one edit,\nin any order"),
        ],
    )


if __name__ == "__main__":
    main()
