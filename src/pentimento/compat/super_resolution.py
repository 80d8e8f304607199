"""Official super-resolution checkpoints: BasicSR's MSRResNet and RRDBNet, and both of ESRGAN.

BasicSR wraps its tensors in `params` or, averaged, `params_ema`. ESRGAN's first files number their
layers (`model.1.sub.0.RDB1.conv1.0.weight`), the later ones name them (`RRDB_trunk.0.RDB1.conv1`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import Tensor

from pentimento.compat.official import KeyMap, State
from pentimento.errors import CheckpointError
from pentimento.systems.generate.super_resolution import Config, SuperResolution

WRAPPERS: Final = ("params_ema", "params")
_DENSE: Final = re.compile(r"body\.(\d+)\.dense\.(\d)\.convs\.(\d)\.(.*)")


def _basicsr(up: str) -> Callable[[str], str]:
    def official(key: str) -> str:
        if found := _DENSE.fullmatch(key):
            return f"body.{found[1]}.rdb{int(found[2]) + 1}.conv{int(found[3]) + 1}.{found[4]}"
        if found := re.fullmatch(r"ups\.(\d)\.(.*)", key):
            return f"{up}{int(found[1]) + 1}.{found[2]}"
        return key

    return official


SRRESNET: Final = KeyMap("BasicSR's MSRResNet", _basicsr("upconv"))
RRDB: Final = KeyMap("BasicSR's RRDBNet", _basicsr("conv_up"))

_NAMED: Final = {"conv_body": "trunk_conv", "conv_hr": "HRconv"}


def _named(key: str) -> str:
    if found := _DENSE.fullmatch(key):
        return f"RRDB_trunk.{found[1]}.RDB{int(found[2]) + 1}.conv{int(found[3]) + 1}.{found[4]}"
    if found := re.fullmatch(r"ups\.(\d)\.(.*)", key):
        return f"upconv{int(found[1]) + 1}.{found[2]}"
    layer, _, rest = key.partition(".")
    return f"{_NAMED.get(layer, layer)}.{rest}"


ESRGAN: Final = KeyMap("ESRGAN's RRDBNet", _named)


def esrgan_first(blocks: int) -> KeyMap:
    """Return the key map of ESRGAN's first files, for so many blocks."""
    numbered = {
        "conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}", "ups.0": "model.3",
        "ups.1": "model.6", "conv_hr": "model.8", "conv_last": "model.10",
    }  # fmt: skip

    def official(key: str) -> str:
        if found := _DENSE.fullmatch(key):
            block, dense, conv = int(found[1]), int(found[2]) + 1, int(found[3]) + 1
            return f"model.1.sub.{block}.RDB{dense}.conv{conv}.0.{found[4]}"
        layer, _, rest = key.rpartition(".")
        return f"{numbered[layer]}.{rest}"

    return KeyMap("ESRGAN's first RRDBNet", official)


def _critic(key: str) -> str:
    found = re.fullmatch(r"levels\.(\d)\.(conv|norm)(\d)\.(.*)", key)
    if found is None:
        return key
    return f"{'conv' if found[2] == 'conv' else 'bn'}{found[1]}_{found[3]}.{found[4]}"


CRITIC: Final = KeyMap("BasicSR's VGG critic", _critic)


def keys_of(config: Config) -> KeyMap:
    """Return BasicSR's key map for a generator."""
    return SRRESNET if config.generator == "srresnet" else RRDB


# --- files ----------------------------------------------------------------------------------------

_FIRST: Final = ("conv_first.weight", "model.0.weight")
_MARKS: Final = (
    "body.0.conv1.weight",
    "body.0.rdb1.conv1.weight",
    "RRDB_trunk.0.RDB1.conv1.weight",
    "model.1.sub.0.RDB1.conv1.0.weight",
)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Tell whether an official state dict is one of these generators."""
    return any(key in state for key in _FIRST) and any(key in state for key in _MARKS)


def infer(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], KeyMap]:
    """Return the fields of `Config` and the key map that an official state dict asks for.

    Raises:
        CheckpointError: it enlarges by a factor that these networks do not have.
    """
    mark = next(key for key in _MARKS if key in state)
    first = next(key for key in _FIRST if key in state)
    width, seen = state[first].shape[:2]
    prefix = mark.split("0.")[0] if not mark.startswith("model") else "model.1.sub."
    numbers = {int(k.removeprefix(prefix).split(".")[0]) for k in state if k.startswith(prefix)}
    blocks = len(numbers) - mark.startswith(
        "model"
    )  # there the layer behind them has a number, too
    if mark == _MARKS[0]:
        folded = len(state["upconv1.weight"]) // width
        scale = 4 if "upconv2.weight" in state else round(folded**0.5)
        fields = {"generator": "srresnet", "scale": scale, "width": width, "blocks": blocks}
        return fields, SRRESNET
    scale = {3: 4, 12: 2}.get(seen, 0)
    if not scale:
        raise CheckpointError(
            f"its first layer takes {seen} channels: an RRDB of another factor than 2 or 4"
        )
    keys = {1: RRDB, 2: ESRGAN, 3: esrgan_first(blocks)}[_MARKS.index(mark)]
    fields = {"generator": "rrdb", "scale": scale, "width": width, "blocks": blocks}
    return fields | {"growth": len(state[mark])}, keys


def from_official(state: Mapping[str, Tensor]) -> tuple[SuperResolution, dict[str, str]]:
    """Build the system of an official state dict, without a critic.

    Returns:
        The system with its weights, and what was assumed.

    Raises:
        CheckpointError: a key is missing or unknown.
    """
    fields, keys = infer(state)
    fields |= {"judge": "none", "adversarial": "none", "adversarial_from": 0.0}
    if fields["scale"] == 3:
        fields["size"], fields["load_size"] = 144, 288
    system = SuperResolution(Config(**fields))
    network = system.networks["generator"]
    network.load_state_dict(keys.from_official(State(state), network.state_dict()))
    network.eval()
    return system, {"critic": "none: the file holds a generator alone"}
