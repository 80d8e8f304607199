"""What the portrait generator is worth: reconstruction, obedience to masks, looks that arrive.

    python benchmarks/portrait.py                       # the bundled model, rendered portraits
    python benchmarks/portrait.py runs/p1 --photos DATA/london_faces/neutral --json scores.json

    python benchmarks/portrait.py --world 0 --photos DATA/faker_portraits --everyone --limit 66

Rendered portraits are of seeds that no training draws; of a folder of photos only the people whom
`data.faces.split_of` keeps from training are used, unless everyone is asked for. The
same documents are rendered by the three painters of the product (`generator`, `baseline`, `paste`):

- reconstruction: PSNR and SSIM of the generator's picture of the unedited face;
- mask edits: mIoU between the mask that was asked for and the parse of the result, over all
  classes and over the edited ones. Both masks come from one parser: it agrees with itself
  perfectly where nothing changed, so the edited classes are the figure to look at;
- looks: distance of the region's colours (mean and spread, CIELAB) from the picture the look was
  taken from and from the picture that was edited; the first should be the smaller. After a swap the
  same of its texture: logarithms of the energies of lightness in three bands of an octave, and
  how much its structure tensor prefers one direction;
- people: the IoU of the edited classes by what the London set says of its people, or the prompts
  of faker's portraits of theirs.
"""

import csv
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.faces import read_rgb, split_of
from pentimento.data.faker import REGION_OF, sitter_of
from pentimento.errors import FaceError
from pentimento.files.compose import to_rgb8
from pentimento.labels import CELEBAMASK19, REGIONS
from pentimento.metrics.images import psnr, ssim
from pentimento.metrics.segmentation import Confusion
from pentimento.ops.regions import Labels, Mask
from pentimento.ops.reshape import opened, stretched
from pentimento.ops.warp import cut
from pentimento.session.document import Document, Reshape, Restyle, Swap
from pentimento.session.editor import Editor, PainterName, Result
from pentimento.session.faces import Where
from pentimento.session.models import load_parser, load_portrait
from pentimento.session.view import View
from pentimento.structures import LabelMap, Picture
from pentimento.world.portraits import portrait

PAINTERS: Final[tuple[PainterName, ...]] = get_args(PainterName)
_UNSEEN: Final = 3_000_000  # first seed of the rendered portraits
_SCALES: Final = (0.7, 1.4, 2.8, 5.6)  # px of an aligned face of 256, borders of the bands
_PHOTO_SIDE: Final = 512  # px: larger photos are reduced, the measures live at the model's size


# ---- edits of masks


def each(labels: Labels, regions: tuple[str, ...], wide: float, high: float, up: float) -> Labels:
    """Return a mask with several regions stretched, each about its own middle."""
    for region in regions:
        labels = stretched(labels, region, wide, high, up)
    return labels


EDITS: Final[Mapping[str, tuple[str, Callable[[Labels], Labels]]]] = {
    "mouth wider": ("lips", lambda m: stretched(m, "lips", 1.25, 1.0)),
    "mouth opened": ("lips", opened),
    "brows raised": ("brows", lambda m: each(m, ("left_brow", "right_brow"), 1.0, 1.0, 0.05)),
    "eyes larger": ("eyes", lambda m: each(m, ("left_eye", "right_eye"), 1.25, 1.4, 0.0)),
    "nose narrower": ("nose", lambda m: stretched(m, "nose", 0.78, 1.0)),
}
"""Edit → region that it concerns, label map → edited label map."""
HAIR: Final = "hair of another"
LOOKS: Final = (
    ("restyle", "lips"), ("restyle", "skin"), ("restyle", "hair"), ("swap", "eyes"),
    ("swap", "hair"),
)  # fmt: skip


# ---- measuring


@dataclass(frozen=True)
class Sitter:
    """A picture with a face in it, by its name among the editor's assets.

    Attributes:
        name: of the picture.
        where: its face.
        groups: what is known of the person, such as `female` or `18 to 25`.
    """

    name: str
    where: Where
    groups: tuple[str, ...] = ()


def rendered(editor: Editor, count: int, size: int) -> list[Sitter]:
    """Return unseen rendered portraits, which are aligned as they are."""
    sitters = []
    for seed in range(_UNSEEN, _UNSEEN + count):
        picture = Picture(portrait(seed, size).picture, name=f"world-{seed}")
        sitters.append(Sitter(editor.assets.keep(picture), Where(aligned=True)))
    return sitters


def photographed(editor: Editor, folder: Path, limit: int, everyone: bool) -> list[Sitter]:
    """Return photos of a folder, evenly spread: of people kept from every training, or of all."""
    sitters, known = [], people(folder.parent / "london_info.csv")
    photos = sorted(folder.rglob("*.jpg"))
    photos = [path for path in photos if everyone or split_of(person(folder, path)) == "val"]
    for path in photos[:: -(-len(photos) // limit) or 1]:
        rgb = read_rgb(path)
        factor = min(1.0, _PHOTO_SIDE / max(rgb.shape[:2]))
        small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        name = editor.assets.keep(Picture(np.asarray(small, np.uint8), name=path.name))
        try:
            editor.view(name, Where())
        except FaceError as error:
            click.echo(f"left out: {error}", err=True)
            continue
        groups = known.get(path.stem.split("_")[0], ())
        if (folder / "metadata").is_dir():
            about = sitter_of(path)
            groups = (age_group(about["age"]), about["sex"], REGION_OF[about["country"]])
        sitters.append(Sitter(name, Where(), groups))
    return sitters


def person(folder: Path, photo: Path) -> str:
    """Return the name by which people are split: `neutral-001`, `faker_portraits-male-7`."""
    folders = photo.parent.relative_to(folder.parent).parts
    return "-".join([*folders, photo.stem.split("_")[0]])


def people(table: Path) -> dict[str, tuple[str, ...]]:
    """Return what the London set says of its people: age, sex, ethnicity; nothing without it."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {
            row["face_id"]: (age_group(row["face_age"]), row["face_gender"], row["face_eth"])
            for row in csv.DictReader(file)
        }


def age_group(years: str) -> str:
    """Return one of three groups, or that nothing is known."""
    try:
        age = float(years)
    except ValueError:
        return "age unknown"
    return "18 to 25" if age <= 25 else "26 to 40" if age <= 40 else "over 40"


def reconstruction(editor: Editor, sitters: list[Sitter]) -> dict[str, float]:
    """Return mean PSNR and SSIM of the generator's picture of unedited faces."""
    system: Any = editor.portrait
    size = system.config.size
    found: dict[str, list[float]] = {"psnr": [], "ssim": []}
    for sitter in sitters:
        view = editor.view(sitter.name, sitter.where)
        face, labels = view.aligned_crop(size), LabelMap(view.aligned_labels(size))
        again = system.repaint(system.encode(face, labels), labels, face)
        found["psnr"].append(min(psnr(face, again), 60.0))
        found["ssim"].append(ssim(face, again))
    return {name: float(np.mean(values)) for name, values in found.items()}


def obedience(editor: Editor, sitters: list[Sitter], painter: PainterName) -> dict[str, Any]:
    """Return, per edit, mIoU of the result's parse with the mask that was asked for."""
    pooled = Confusion(CELEBAMASK19)
    found: dict[str, Any] = {}
    edited_all: list[float] = []
    by_person: dict[str, list[float]] = {}
    for edit in (*EDITS, HAIR):
        confusion = Confusion(CELEBAMASK19)
        region = "hair" if edit == HAIR else EDITS[edit][0]
        for number, sitter in enumerate(sitters):
            result = _edit(editor, sitter, sitters[(number + 1) % len(sitters)], edit, painter)
            if result is None:
                continue
            view = editor.view(sitter.name, sitter.where)
            asked, seen = _frame(result.mask, view), _parse(editor, result, view)
            confusion.add(asked, seen)
            pooled.add(asked, seen)
            alone = Confusion(CELEBAMASK19)
            alone.add(asked, seen)
            own = [v for k, v in alone.iou().items() if k in REGIONS[region]]
            by_person.setdefault(sitter.name, []).append(float(np.mean(own or [0])))
        iou = confusion.iou()
        edited = [iou[name] for name in REGIONS[region] if name in iou]
        if edited:  # else nobody shows the region
            edited_all.append(float(np.mean(edited)))
            found[edit] = {"all": confusion.mean_iou(), "edited": edited_all[-1]}
    return {
        **found,
        "groups": _by_group(sitters, {k: float(np.mean(v)) for k, v in by_person.items()}),
        "mean": {"all": pooled.mean_iou(), "edited": float(np.mean(edited_all or [0]))},
    }


def _by_group(sitters: list[Sitter], scores: Mapping[str, float]) -> dict[str, Any]:
    """Return group → number of its people and their mean score."""
    groups: dict[str, list[float]] = {}
    for sitter in sitters:
        for group in sitter.groups if sitter.name in scores else ():
            groups.setdefault(group, []).append(scores[sitter.name])
    return {
        group: {"people": len(values), "edited": float(np.mean(values))}
        for group, values in sorted(groups.items())
    }


def _edit(
    editor: Editor, sitter: Sitter, other: Sitter, edit: str, painter: PainterName
) -> Result | None:
    document = Document(sitter.name, sitter.where)
    if edit == HAIR:
        if not _has(editor, other, "hair"):
            return None
        return editor.render(document.then(Swap("hair", other.name, other.where)), painter)
    mask = editor.view(sitter.name, sitter.where).label_map
    wanted = EDITS[edit][1](mask.values)
    if np.array_equal(wanted, mask.values):
        return None
    command = Reshape(editor.assets.keep(LabelMap(wanted)))
    return editor.render(document.then(command), painter)


def looks(editor: Editor, sitters: list[Sitter], painter: PainterName) -> dict[str, Any]:
    """Return, per look, distances of the region's colours to where it came from and went to."""
    found: dict[str, Any] = {}
    for verb, region in LOOKS:
        near: list[tuple[float, ...]] = []
        for number, sitter in enumerate(sitters):
            other = sitters[(number + 1) % len(sitters)]
            if not (_has(editor, sitter, region) and _has(editor, other, region)):
                continue
            command = (Swap if verb == "swap" else Restyle)(region, other.name, where=other.where)
            result = editor.render(Document(sitter.name, sitter.where).then(command), painter)
            own, theirs = (editor.view(s.name, s.where) for s in (sitter, other))
            after = _statistics(to_rgb8(result.picture), result.mask.mask(*REGIONS[region]))
            source = _statistics(theirs.rgb, theirs.label_map.mask(*REGIONS[region]))
            target = _statistics(own.rgb, own.label_map.mask(*REGIONS[region]))
            gaps = [float(np.linalg.norm(after - other)) for other in (source, target)]
            if verb == "swap":
                made = _texture(
                    _crop(to_rgb8(result.picture), own), _frame(result.mask, own), region
                )
                for view in (theirs, own):
                    seen = _texture(_crop(view.rgb, view), _frame(view.label_map, view), region)
                    gaps.append(float(np.linalg.norm(made - seen)))
            near.append(tuple(gaps))
        if not near:
            continue
        distances = np.array(near)
        found[f"{verb} {region}"] = {
            "to_source": float(distances[:, 0].mean()),
            "to_target": float(distances[:, 1].mean()),
            "nearer_source": float((distances[:, 0] < distances[:, 1]).mean()),
            "pairs": len(near),
        }
        if verb == "swap":
            found[f"{verb} {region}"]["texture"] = {
                "to_source": float(distances[:, 2].mean()),
                "to_target": float(distances[:, 3].mean()),
                "nearer_source": float((distances[:, 2] < distances[:, 3]).mean()),
            }
    return found


def _statistics(rgb: NDArray[np.uint8], mask: Mask) -> NDArray[np.float32]:
    """Return mean and spread of L, a, b over a mask."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[mask]
    return np.concatenate([lab.mean(0), lab.std(0)]) if len(lab) else np.zeros(6, np.float32)


def _texture(face: NDArray[np.float32], labels: Labels, region: str) -> NDArray[np.float64]:
    """Return log energies of lightness in octaves, and the coherence of its structure tensor."""
    inside = np.isin(labels, CELEBAMASK19.values(*REGIONS[region]))
    size = len(labels)
    small = np.asarray(cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA), np.float32)
    light = cv2.cvtColor(small / 255, cv2.COLOR_RGB2LAB)[..., 0]
    if inside.sum() < 12:
        return np.zeros(len(_SCALES))
    soft = [cv2.GaussianBlur(light, (0, 0), s * size / 256) for s in _SCALES]
    bands = [fine - coarse for fine, coarse in itertools.pairwise(soft)]
    energies = [np.log(np.square(band[inside]).mean() + 1e-2) for band in bands]
    gx, gy = cv2.Sobel(soft[0], cv2.CV_32F, 1, 0), cv2.Sobel(soft[0], cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(a, (0, 0), 3 * size / 256) for a in (gx * gx, gy * gy, gx * gy))
    coherence = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-3)
    return np.array([*energies, 2 * coherence[inside].mean()])


def _crop(rgb: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
    return cut(rgb, view.face.matrix(view.aligned_size), view.aligned_size)


def _has(editor: Editor, sitter: Sitter, region: str) -> bool:
    view = editor.view(sitter.name, sitter.where)
    return bool(view.label_map.mask(*REGIONS[region]).sum() > 30)


def _frame(mask: LabelMap, view: View) -> Labels:
    """Return a photo-sized mask in the aligned frame, at the parser's size."""
    matrix = view.face.matrix(view.aligned_size)
    planes = np.stack(
        [
            cut((mask.values == value).astype(np.uint8) * 255, matrix, view.aligned_size)
            for value in range(len(CELEBAMASK19))
        ]
    )
    return np.asarray(planes.argmax(0), np.uint8)


def _parse(editor: Editor, result: Result, view: View) -> Labels:
    crop = cut(to_rgb8(result.picture), view.face.matrix(editor.parser.size), editor.parser.size)
    seen = editor.parser.probabilities(np.rint(crop).astype(np.uint8), tta=True)
    return np.asarray(seen.argmax(0), np.uint8)


# ---- telling


def table(scores: Mapping[str, Any]) -> str:
    """Return all scores of all sets as Markdown."""
    lines = ["| faces | reconstruction PSNR | SSIM |", "|---|---|---|"]
    for name, found in scores.items():
        own = found["reconstruction"]
        lines.append(f"| {name} ({found['faces']}) | {own['psnr']:.1f} dB | {own['ssim']:.3f} |")
    for name, found in scores.items():
        head = " | ".join(PAINTERS)
        lines += ["", f"| mIoU all classes / edited classes, {name} | {head} |"]
        lines.append("|---|" + "---|" * len(PAINTERS))
        for edit in (*EDITS, HAIR, "mean"):
            cells = [found["masks"][p][edit] for p in PAINTERS if edit in found["masks"][p]]
            shown = " | ".join(f"{c['all']:.3f} / {c['edited']:.3f}" for c in cells)
            lines += [f"| {edit} | {shown} |"] * bool(shown)
        lines += [
            "",
            f"| ΔLab, Δtexture to source / to target (nearer to source), {name} | {head} |",
        ]
        lines.append("|---|" + "---|" * len(PAINTERS))
        for verb, region in LOOKS:
            look = f"{verb} {region}"
            cells = [found["looks"][p][look] for p in PAINTERS if look in found["looks"][p]]
            shown = " | ".join(
                f"{c['to_source']:.1f} / {c['to_target']:.1f} ({c['nearer_source']:.0%})"
                for c in cells
            )
            lines += [f"| {look} | {shown} |"] * bool(shown)
            textures = [c["texture"] for c in cells if "texture" in c]
            shown = " | ".join(
                f"{c['to_source']:.2f} / {c['to_target']:.2f} ({c['nearer_source']:.0%})"
                for c in textures
            )
            lines += [f"| {look}, texture | {shown} |"] * bool(shown)
        groups = found["masks"][PAINTERS[0]]["groups"]
        if groups:
            lines += ["", f"| IoU of edited classes by people, {name} | people | {head} |"]
            lines.append("|---|---|" + "---|" * len(PAINTERS))
        for group, own in groups.items():
            cells = [found["masks"][p]["groups"][group]["edited"] for p in PAINTERS]
            shown = " | ".join(f"{c:.3f}" for c in cells)
            lines.append(f"| {group} | {own['people']} | {shown} |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--parser", type=click.Path(path_type=Path), help="Face parser; else the bundled.")
@click.option("--world", default=20, show_default=True, help="Unseen rendered portraits.")
@click.option("--photos", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=10_000, help="At most so many photos of a folder.")
@click.option("--everyone", is_flag=True, help="Also people whom trainings saw.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write them here.")
def main(
    model: Path | None,
    parser: Path | None,
    world: int,
    photos: tuple[Path, ...],
    limit: int,
    everyone: bool,
    path: Path | None,
) -> None:
    """Measure and tell."""
    began = time.time()
    editor = Editor(load_parser(parser), load_portrait(model))
    sets = {"rendered": rendered(editor, world, _PHOTO_SIDE // 2)} if world else {}
    sets |= {f"{d.parent.name}/{d.name}": photographed(editor, d, limit, everyone) for d in photos}
    scores: dict[str, Any] = {}
    for name, sitters in sets.items():
        if not sitters:
            raise click.ClickException(f"{name}: no photo of anyone who is kept from training")
        scores[name] = {
            "faces": len(sitters),
            "reconstruction": reconstruction(editor, sitters),
            "masks": {p: obedience(editor, sitters, p) for p in PAINTERS},
            "looks": {p: looks(editor, sitters, p) for p in PAINTERS},
        }
    click.echo(table(scores))
    click.echo(f"\n{(time.time() - began) / 60:.1f} minutes", err=True)
    if path is not None:
        path.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
