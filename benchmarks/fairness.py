"""Whom the face parser sees less well: its scores by age, sex, ethnicity and tone of skin.

    python benchmarks/fairness.py --data DATA [--model FOLDER] [--portraits 200] [--faces JSON]

London, people held out from training: mean IoU of eleven parts and hair against the truth, by what
the set says about its people. Faker's AI-made portraits have no truth; there the answer for each
face is compared with the answers for the same face mirrored, turned and enlarged a little, and
coded as a poor JPEG: a parser that is sure of a face gives the same answer. (In one pass each:
test-time augmentation would hide what differs.) Sex, age and region are those of the portrait's
prompt (`data/faker.py`). The tone of skin is measured where the parser sees skin: the individual
typology angle (Chardon et al. 1991) of its median colour, light above 41°, dark below 10°.
"""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.augment import mirror_table
from pentimento.data.faces import read_rgb, split_of
from pentimento.data.faker import REGION_OF, sitter_of
from pentimento.data.london import london_faces
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.metrics.segmentation import Confusion
from pentimento.ops.align import crop_to_picture
from pentimento.ops.warp import cut
from pentimento.session.faces import find_faces
from pentimento.session.models import load_parser

PARTS: Final = (
    "skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "u_lip", "l_lip",
    "hair", "neck",
)  # fmt: skip
SIZE: Final = 256
Maps = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]  # truth and answer


def age_group(age: float) -> str:
    """Return one of three groups."""
    return "18 to 25" if age <= 25 else "26 to 40" if age <= 40 else "over 40"


def london(parser: Any, folder: Path) -> Iterable[tuple[dict[str, str], Maps]]:
    """Yield what the set says about each person held out, with truth and answer."""
    people: dict[str, dict[str, str]] = {}
    for name, kind in (("london_info.csv", "neutral"), ("canada_info.csv", "canada")):
        with (folder / name).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                about = people[f"{kind}-{row['face_id']}"] = {
                    "sex": row["face_gender"],
                    "ethnicity": row.get("face_eth", "white"),  # the Canadian set's title says so
                }
                if row["face_age"].isdigit():
                    about["age"] = age_group(float(row["face_age"]))
    for face in london_faces(folder):
        if split_of(face.person) == "val" and face.person in people:
            sample = face.read(SIZE)
            seen = parser.predict(sample.image, tta=True)
            yield people[face.person], [(sample.labels, seen.values)]


def faker(
    parser: Any, folder: Path, count: int, squares: dict[str, Any]
) -> Iterable[tuple[dict[str, str], Maps]]:
    """Yield what each prompt says, with the answer for the face and for its variations."""
    photos = sorted(folder.glob("*male/*.jpg"))
    for photo in photos[:: max(1, len(photos) // count)]:
        rgb = read_rgb(photo)
        name = f"{folder.name}/{photo.parent.name}/{photo.name}"
        if name in squares:
            quad = squares[name]
        else:
            quad = next((face.quad for face in find_faces(rgb, parser)), None)
        if quad is None:
            click.echo(f"no face found in {photo.parent.name}/{photo.name}", err=True)
            continue
        crop = cut(rgb, crop_to_picture(np.array(quad), SIZE), SIZE)
        face = np.rint(crop.clip(0, 255)).astype(np.uint8)
        known = sitter_of(photo)
        own = parser.predict(face).values
        about = {
            "age": age_group(float(known["age"])),
            "from": REGION_OF[known["country"]],
            "sex": known["sex"],
            "skin": skin_tone(face, own),
        }
        yield about, [(own, other) for other in variations(parser, face)]


def variations(parser: Any, face: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the answers for a mirrored, a moved and a badly coded face, laid over the face."""
    mirrored = parser.predict(np.ascontiguousarray(face[:, ::-1])).values[:, ::-1]
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), 6, 1.1)
    moved = cv2.warpAffine(face, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    back = cv2.warpAffine(
        parser.predict(np.asarray(moved, np.uint8)).values, matrix, (SIZE, SIZE),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderValue=(IGNORE,),
    )  # fmt: skip
    coded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 25])[1]
    poor = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    answers = [mirror_table(CELEBAMASK19)[mirrored], back, parser.predict(poor).values]
    return [np.asarray(answer, np.uint8) for answer in answers]


def skin_tone(face: NDArray[np.uint8], labels: NDArray[np.uint8]) -> str:
    """Return light, medium or dark by the typology angle of the skin's median colour."""
    skin = np.isin(labels, CELEBAMASK19.values("skin", "nose"))
    if not skin.any():
        return "unknown"
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[skin]
    lightness, _, yellow = np.median(lab, 0)
    angle = np.degrees(np.arctan2(lightness - 50, yellow))
    return "light" if angle > 41 else "medium" if angle > 10 else "dark"


def tell(title: str, faces: Iterable[tuple[dict[str, str], Maps]]) -> None:
    """Print mean IoU over the parts, of everybody and of every group."""
    groups: dict[tuple[str, str], tuple[list[int], Confusion]] = {}
    for about, maps in faces:
        for group in (("all", ""), *sorted(about.items())):
            count, confusion = groups.setdefault(group, ([0], Confusion(CELEBAMASK19)))
            count[0] += 1
            for truth, answer in maps:
                # Where a moved picture shows nothing of the face, there is nothing to compare.
                confusion.add(np.where(answer == IGNORE, np.uint8(IGNORE), truth), answer)
    click.echo(
        f"\n| {title} | faces | mean IoU | hair | skin | lowest part |\n|---|---|---|---|---|---|"
    )
    for (kind, name), (count, confusion) in sorted(groups.items()):
        iou = {part: value for part, value in confusion.iou().items() if part in PARTS}
        low = min(iou, key=lambda part: iou[part])
        mean = sum(iou.values()) / len(iou)
        shown = f"{iou.get('hair', float('nan')):.3f} | {iou['skin']:.3f}"
        click.echo(f"| {kind} {name} | {count[0]} | {mean:.3f} | {shown} | {low} {iou[low]:.3f} |")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), envvar="PENTIMENTO_DATA", required=True)
@click.option("--model", type=click.Path(path_type=Path), help="Another parser.")
@click.option("--portraits", default=200, show_default=True, help="At most so many of faker's.")
@click.option("--faces", type=click.Path(path_type=Path), help="faces.json of recipes/parser.py.")
def main(data: Path, model: Path | None, portraits: int, faces: Path | None) -> None:
    """Score the face parser by groups of people."""
    squares = {} if faces is None else json.loads(faces.read_text())
    parser = load_parser(model)
    tell("London, held-out people", london(parser, data / "london_faces"))
    tell("faker: same answer", faker(parser, data / "faker_portraits", portraits, squares))


if __name__ == "__main__":
    main()
