"""The aligned portrait frame: where eyes and mouth sit in every face crop of the project.

The oriented square is that of FFHQ (Karras et al. 2019, dataset tool): built from the two eye
centres and the mouth's middle, so that a rendered portrait, a training crop and the crop taken out
of a holiday photo all agree.
"""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def ffhq_quad(image_left_eye: Points, image_right_eye: Points, mouth: Points) -> Points:
    """Return the corners (4, 2) of the crop: top-left, bottom-left, bottom-right, top-right.

    Args:
        image_left_eye: (2,) centre of the eye that is on the left in the picture (the subject's
            right eye), x and y in pixels.
        image_right_eye: (2,) centre of the other eye.
        mouth: (2,) middle between the two mouth corners.

    Raises:
        ValueError: the three points do not span a frame (they coincide).
    """
    eyes = (image_left_eye + image_right_eye) / 2
    across = image_right_eye - image_left_eye
    down = mouth - eyes
    x = across - np.array([-down[1], down[0]])
    length = np.hypot(*x)
    if not length > 0:
        raise ValueError("eyes and mouth coincide: no face frame can be built from them")
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / length
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def crop_to_picture(quad: Points, size: int) -> Points:
    """Return the (2, 3) affine matrix from crop pixels to picture pixels.

    It maps the corner (0, 0) of a `size`-pixel crop to `quad[0]`, (0, size) to `quad[1]` and
    (size, size) to `quad[2]`, in the frame in which pixel centres lie at halves.
    """
    right = (quad[3] - quad[0]) / size
    down = (quad[1] - quad[0]) / size
    return np.column_stack([right, down, quad[0]])
