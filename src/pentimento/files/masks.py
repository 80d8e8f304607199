"""Label maps as files: indexed PNG that any editor shows in colour, and what others write.

Written: PNG whose index is the class and whose palette is the label set's. Read: such files, grey
PNG whose value is the class, RGB PNG painted in exactly the palette's colours, and CelebAMask-HQ
part files (Lee et al. 2020: one white-on-black PNG per part, 512 × 512, left out when absent).
A mask is never guessed: JPEG and antialiased colours have no classes, and are refused.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pentimento.errors import MaskError, PictureError
from pentimento.files.atomic import write_atomically
from pentimento.files.pictures import DEFAULT_LIMITS, check_size, explained, read_bytes
from pentimento.labels import CELEBAMASK19, IGNORE, LabelSet
from pentimento.structures import LabelMap

_SHOWN: Final = 8
_IGNORE_COLOUR: Final = (128, 128, 128)


def save_mask(label_map: LabelMap, path: str | Path) -> None:
    """Save a label map as indexed PNG: index = class, palette = the label set's colours.

    Raises:
        MaskError: the path does not end in .png, or the system refuses the file.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise MaskError(f"{path}: a mask is saved as .png, other formats blur or renumber classes")
    write_atomically(path, mask_png(label_map), MaskError)


def mask_png(label_map: LabelMap, optimize: bool = True) -> bytes:
    """Return the bytes of the file that `save_mask` writes; larger and sooner if not optimized."""
    image = Image.fromarray(label_map.values, "P")
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(label_map.labels)] = label_map.labels.colours
    palette[IGNORE] = _IGNORE_COLOUR
    # Entries up to the largest value in use: a reader must find a colour for every index.
    used = 256 if (label_map.values == IGNORE).any() else len(label_map.labels)
    image.putpalette(palette[:used].tobytes())
    out = BytesIO()
    image.save(out, "PNG", optimize=optimize, compress_level=1)
    return out.getvalue()


def open_mask(
    path: str | Path,
    *,
    picture_size: tuple[int, int] | None = None,
    labels: LabelSet = CELEBAMASK19,
) -> LabelMap:
    """Open a label map.

    Args:
        path: a PNG mask; or CelebAMask-HQ parts: any one part file (`00012_hair.png`), the stem
            they share (`parts/00012`), a folder with the parts of one picture, or the data
            set's folder with the number (`CelebAMask-HQ-mask-anno/12`, found in `id // 2000`).
        picture_size: (height, width) the mask must have; None takes any.
        labels: the set that its values belong to.

    Raises:
        MaskError: missing, damaged, JPEG, antialiased, values that are no classes, or another
            size than the picture's. The message names the file, what was found and the remedy.
    """
    path = Path(path)
    parts = _part_files(path, labels)
    values = _assembled(parts, labels) if parts else _read_mask(path, labels)
    if picture_size is not None and values.shape != tuple(picture_size):
        height, width = picture_size
        raise MaskError(
            f"{path} is {values.shape[1]} × {values.shape[0]} pixels but the picture is "
            f"{width} × {height}; edit the mask that `pentimento parse` wrote for this picture, "
            "or resize it with nearest-neighbour sampling"
        )
    return LabelMap(values, labels)


def _open_png(path: Path) -> Image.Image:
    """Return a loaded PNG in its own mode, or raise a MaskError."""
    try:
        name, data = read_bytes(path, DEFAULT_LIMITS)
        with explained(name, data):
            image = Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP", "TIFF"))
            if image.format != "PNG":
                raise MaskError(
                    f"{path} is a {image.format} file; a mask must be PNG, because its values are "
                    "class numbers: save the edited mask as PNG without antialiasing"
                )
            check_size(name, image, DEFAULT_LIMITS, getattr(image, "n_frames", 1))
            image.load()
    except PictureError as error:
        raise MaskError(str(error)) from error
    return image


def _read_mask(path: Path, labels: LabelSet) -> NDArray[np.uint8]:
    image = _open_png(path)
    if image.mode in ("P", "L"):
        values = np.array(image, np.uint8)
        _check_values(path, values, labels)
        return values
    if image.mode == "1":
        raise MaskError(
            f"{path} is a black-and-white PNG and names no classes; save an indexed PNG with the "
            f"classes of {labels.name}, or name the part files <id>_<class>.png"
        )
    if image.mode not in ("RGB", "RGBA"):
        raise MaskError(f"{path} has {image.mode} pixels; save the mask as 8-bit indexed PNG")
    return _from_colours(path, np.asarray(image), labels)


def _check_values(path: Path, values: NDArray[np.uint8], labels: LabelSet) -> None:
    found = np.unique(values)
    unknown = found[(found >= len(labels)) & (found != IGNORE)]
    if unknown.size:
        more = " …" if unknown.size > _SHOWN else ""
        listed = ", ".join(map(str, unknown[:_SHOWN].tolist()))
        raise MaskError(
            f"{path} has the values {listed}{more}, which are no classes of {labels.name} "
            f"(0..{len(labels) - 1}, {IGNORE} = unknown); repaint them, or name the label set "
            "that the file uses"
        )


def _from_colours(path: Path, pixels: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.uint8]:
    """Return classes for an RGB(A) mask painted in exactly the palette's colours."""
    if pixels.shape[2] == 4 and (pixels[..., 3] < 255).any():
        raise MaskError(f"{path} is transparent in places; flatten it, so every pixel has a class")
    # One 24-bit number per pixel, so that colours are compared as a whole.
    scale = np.array([65536, 256, 1], np.uint32)
    codes = pixels[..., :3] @ scale
    known = np.array([*labels.colours, _IGNORE_COLOUR], np.uint32) @ scale
    order = np.argsort(known, kind="stable")
    found, where = np.unique(codes, return_inverse=True)
    slots = order[np.minimum(np.searchsorted(known[order], found), len(known) - 1)]
    unknown = found[known[slots] != found]
    if unknown.size:
        more = " …" if unknown.size > _SHOWN else ""
        listed = ", ".join(f"#{code:06x}" for code in unknown[:_SHOWN].tolist())
        raise MaskError(
            f"{path} has {unknown.size} colours that no class of {labels.name} has "
            f"({listed}{more}): it is antialiased or uses another palette; paint with a hard "
            "brush in the palette's colours, or save it as indexed PNG"
        )
    classes = np.append(np.arange(len(labels)), IGNORE).astype(np.uint8)
    return classes[slots][where].reshape(codes.shape)


def _part_files(path: Path, labels: LabelSet) -> dict[str, Path]:
    """Return class → part file for everything that `path` may mean; empty for a plain mask."""
    stem = re.fullmatch(rf"(.+?)_({'|'.join(labels.classes[1:])})", path.stem)
    if path.is_dir():
        folder, names = path, {f.name.split("_")[0] for f in path.glob("*_*.png")}
        if not names:
            raise MaskError(f"{path} holds no part files such as 00000_hair.png")
        if len(names) > 1:
            raise MaskError(
                f"{path} holds the parts of {len(names)} pictures; name one, "
                f"such as {path / min(names)}"
            )
        prefix = names.pop()
    elif path.is_file():
        if path.suffix.lower() != ".png" or stem is None:
            return {}
        folder, prefix = path.parent, stem[1]
    elif not path.suffix and path.name.isdigit():
        prefix = f"{int(path.name):05d}"
        numbered = path.parent / str(int(path.name) // 2000)
        folder = numbered if numbered.is_dir() else path.parent
    else:
        folder, prefix = path.parent, path.name
    files = {name: folder / f"{prefix}_{name}.png" for name in labels.classes[1:]}
    return {name: file for name, file in files.items() if file.is_file()}


def _assembled(parts: dict[str, Path], labels: LabelSet) -> NDArray[np.uint8]:
    """Paint part files over each other in class order: a later class covers an earlier one."""
    values: NDArray[np.uint8] | None = None
    for name, file in parts.items():
        image = _open_png(file)
        part = np.asarray(image.convert("L"))
        strange = np.unique(part[(part != 0) & (part != 255)])
        if strange.size:
            raise MaskError(
                f"{file} has the values {strange[:_SHOWN].tolist()}; a part file is black "
                "and white (0 and 255): save it without antialiasing"
            )
        if values is None:
            values = np.zeros(part.shape, np.uint8)
        if part.shape != values.shape:
            raise MaskError(
                f"{file} is {part.shape[1]} × {part.shape[0]} pixels but the parts before it are "
                f"{values.shape[1]} × {values.shape[0]}; export the parts again at one size"
            )
        values[part > 0] = labels.value(name)
    assert values is not None
    return values


def overlay(rgb: NDArray[np.uint8], label_map: LabelMap, opacity: float = 0.5) -> NDArray[np.uint8]:
    """Return the picture with its regions tinted and thinly outlined.

    Args:
        rgb: (H, W, 3) uint8 view of the picture.
        label_map: of the same size.
        opacity: of the tint, 0..1. Background stays as it is; borders are drawn at any opacity.
    """
    values = label_map.values
    if rgb.shape[:2] != values.shape or not 0 <= opacity <= 1:
        raise ValueError(f"picture {rgb.shape}, labels {values.shape}, opacity {opacity}")
    colours = np.full((256, 3), _IGNORE_COLOUR, np.float32)
    colours[: len(label_map.labels)] = label_map.labels.colours
    tint = colours[values]
    strength = np.where(values == 0, 0, opacity).astype(np.float32)[..., None]
    out = rgb + strength * (tint - rgb)
    out[_borders(values)] = 255
    return np.rint(out).astype(np.uint8)


def _borders(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where regions meet, as lines that stay visible when a large picture is shown small."""
    border = np.zeros(values.shape, np.uint8)
    border[:, 1:] |= values[:, 1:] != values[:, :-1]
    border[1:] |= values[1:] != values[:-1]
    width = max(1, round(min(values.shape) / 600))
    return cv2.dilate(border, np.ones((width, width), np.uint8)).astype(bool)
