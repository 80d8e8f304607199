"""Official DensePose checkpoints (detectron2, R50-FPN s1x), as plain tensors."""

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from pentimento.compat.official import KeyMap
from pentimento.errors import CheckpointError
from pentimento.systems.perceive.densepose import DensePose, paper

DENSEPOSE: Final = KeyMap("DensePose R50-FPN", lambda key: key)
"""For `densepose.DenseRCNN`, which has the official names."""

_TELLING: Final = "roi_heads.densepose_predictor.ann_index_lowres.weight"
# Constants of old files that the network has by itself.
_CONSTANT: Final = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.cell_anchors")


def recognises(official: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is a DensePose, going by its keys."""
    return _TELLING in official


def from_official(official: Mapping[str, Tensor]) -> DensePose:
    """Return the system of an official state.

    Raises:
        CheckpointError: it is no DensePose, or of another architecture than R50-FPN with a decoder.
    """
    if _TELLING not in official:
        raise CheckpointError(
            "not the state of a DensePose that is known here (detectron2's R50-FPN s1x); it has "
            f"{sorted(official)[:3]}"
        )
    state = {key: value for key, value in official.items() if not key.startswith(_CONSTANT)}
    system = DensePose(paper())
    network = system.networks["densepose"]
    network.load_state_dict(DENSEPOSE.from_official(state, network.state_dict()))
    return system
