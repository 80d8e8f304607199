"""Official CornerNet and CenterNet (triplets) checkpoints."""

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from pentimento.compat.official import KeyMap
from pentimento.errors import CheckpointError
from pentimento.systems.perceive import centernet_triplets, cornernet


def _official(key: str) -> str:
    return key.removeprefix("trunk.")


CORNERNET: Final = KeyMap("CornerNet", _official)
"""For `cornernet.CornerDetector`."""

TRIPLETS: Final = KeyMap("CenterNet (triplets)", _official)
"""For `centernet_triplets.TripletDetector`."""


def recognises(official: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is one of the two, going by its keys."""
    return {"tl_heats.0.1.weight", "kps.0.up1.0.conv1.weight"} <= official.keys()


def from_official(
    official: Mapping[str, Tensor],
) -> cornernet.CornerNet | centernet_triplets.CenterNetTriplets:
    """Return the system of an official state; which one it is, stacks and classes show in its keys.

    Classes are called by their number: the files do not name them.

    Raises:
        CheckpointError: neither of the two, or not complete.
    """
    if not recognises(official):
        raise CheckpointError(f"not the state of a CornerNet; it has {sorted(official)[:3]}")
    classes = tuple(f"class {number}" for number in range(len(official["tl_heats.0.1.weight"])))
    stacks = sum(f"tl_heats.{stack}.1.weight" in official for stack in range(8))
    system: cornernet.CornerNet | centernet_triplets.CenterNetTriplets
    if "ct_heats.0.1.weight" in official:
        config = centernet_triplets.Config(stacks=stacks, classes=classes)
        system, keys = centernet_triplets.CenterNetTriplets(config), TRIPLETS
    else:
        plain = cornernet.Config(stacks=stacks, classes=classes)
        system, keys = cornernet.CornerNet(plain), CORNERNET
    network = system.networks["detector"]
    network.load_state_dict(keys.from_official(official, network.state_dict()))
    return system
