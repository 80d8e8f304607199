"""What verbs that take one photo or a folder of them check before they write anything."""

from collections import Counter
from pathlib import Path
from typing import Final

from pentimento.errors import PictureError

ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


def pictures_in(folder: Path) -> dict[Path, str]:
    """Return the pictures of a folder, each with a name for what is made of it, without ending.

    Raises:
        PictureError: there are none.
    """
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
    if not pictures:
        raise PictureError(f"{folder} holds no pictures ({', '.join(ENDINGS)})")
    stems = Counter(picture.stem for picture in pictures)
    return {each: each.stem if stems[each.stem] == 1 else each.name for each in pictures}


def spare(photo: Path, *outputs: Path | None) -> None:
    """Refuse outputs that would replace the photo, or pictures of a folder.

    Raises:
        PictureError: one of them is the photo or the folder itself, or a picture in it.
    """
    for path in filter(None, outputs):
        if path.resolve() == photo.resolve():
            raise PictureError(
                f"{path} is the {'folder' if photo.is_dir() else 'photo'} itself; give the output "
                "another name"
            )
        inside = photo.is_dir() and path.resolve().parent == photo.resolve()
        if inside and path.is_file() and path.suffix.lower() in ENDINGS:
            raise PictureError(f"{path} is one of the pictures; give the output another name")


def make_folder(path: Path, photo: Path) -> None:
    """Make the folder that the outputs for a folder of pictures go into.

    Raises:
        PictureError: there is a file of that name, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        why = "is a file" if path.is_file() else f"cannot be made ({problem.strerror})"
        raise PictureError(
            f"{path} {why}, and what becomes of the folder {photo} goes into a folder; name another"
        ) from problem
