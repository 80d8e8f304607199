"""Write the studio's samples: the astronaut that scikit-image carries, and people from the world.

python docs/samples.py

The astronaut (Eileen Collins, NASA, public domain) is scikit-image's file; nobody else here exists.
"""

from pathlib import Path
from typing import Final

import skimage.data
from PIL import Image

from pentimento.world.portraits import portrait

FOLDER: Final = Path(__file__).parents[1] / "src" / "pentimento" / "studio" / "samples"
SEEDS: Final = {"blonde": 300005, "blue": 300038, "brown": 300051}


def main() -> None:
    """Render and write."""
    Image.fromarray(skimage.data.astronaut()).save(FOLDER / "astronaut.jpg", quality=92)
    for name, seed in SEEDS.items():
        picture = portrait(seed, 640).picture
        Image.fromarray(picture).save(FOLDER / f"{name}.jpg", quality=90)


if __name__ == "__main__":
    main()
