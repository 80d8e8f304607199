"""A frozen face parser as a judge: does a picture show what its mask asks for?

Users: mask-guided portrait editing and every system that repaints faces from masks.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento import models
from pentimento.errors import CheckpointError
from pentimento.labels import CELEBAMASK19, HELEN11, IGNORE, LabelSet, remap_table
from pentimento.nn.mgpe import UNetParser

BUNDLED: Final = Path(__file__).parents[1] / "weights" / "face_parsing"

# Class of network → modules whose outputs serve as features, fine to coarse.
_TAPS: Final = {
    "Compact": ("stem", "stages.0", "stages.1", "stages.2"),
    "UNet": ("encoders.0", "encoders.1", "encoders.2", "encoders.3"),
    "BiSeNet": ("backbone.bn1", "backbone.layer1", "backbone.layer2", "backbone.layer3"),
    "UNetParser": ("down.0", "down.1", "down.2", "down.3"),
}

# What the official parsing loss lets a pixel count, by class; all else counts as background does.
_CLASS_WEIGHTS: Final = {
    "skin": 1.0, "l_brow": 5.0, "r_brow": 5.0, "l_eye": 5.0, "r_eye": 5.0, "nose": 3.0,
    "u_lip": 8.0, "mouth": 8.0, "l_lip": 8.0, "hair": 1.0, "l_ear": 1.0, "r_ear": 1.0,
}  # fmt: skip
_OTHER_WEIGHT: Final = 0.2


class FrozenParser:
    """A parser that is asked and never trained.

    Args:
        source: `bundled`, a folder of a face-parsing model, or `unet:FILE`, a safetensors file of
            `nn.mgpe.UNetParser`, whose answer is the paper's: probabilities, used as if unbounded.
        labels: the label set its answers are wanted in.

    Raises:
        CheckpointError: there is no such parser, or it does not know these labels.
    """

    def __init__(self, source: str, labels: LabelSet) -> None:
        self.labels = labels
        self._system: Any = None
        if source.startswith("unet:"):
            self.network = _load_unet(Path(source.removeprefix("unet:")), labels)
        else:
            self._system = _load_system(source)
            self.network = self._system.networks["parser"]
        self.network.eval().requires_grad_(False)
        weigh = [_CLASS_WEIGHTS.get(name, _OTHER_WEIGHT) for name in labels.classes]
        self._class_weights = torch.tensor(weigh)

    def logits(self, picture: Tensor) -> Tensor:
        """Return (B, K, H, W) of pictures (B, 3, H, W) in [-1, 1]; gradients reach the picture."""
        self.network.to(picture.device)
        if self._system is None:
            answer: Tensor = self.network(picture)
            return answer
        side = self._system.config.size
        seen = picture if picture.shape[-1] == side else _resize(picture, (side, side))
        logits: Tensor = self._system.logits(seen)
        if self.labels is HELEN11:
            table = torch.from_numpy(remap_table(CELEBAMASK19, HELEN11)).tolist()
            groups = [
                [k for k in range(len(CELEBAMASK19)) if table[k] == value]
                for value in range(len(HELEN11))
            ]
            logits = torch.stack([logits[:, group].logsumexp(1) for group in groups], 1)
        return logits if seen is picture else _resize(logits, picture.shape[-2:])

    def loss(self, picture: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted cross-entropy of the parse against (B, H, W) labels; 0 if unknown."""
        weight = self._class_weights.to(picture.device)
        logits = self.logits(picture)
        total = F.cross_entropy(logits, labels, weight, ignore_index=IGNORE, reduction="sum")
        known = labels[labels != IGNORE]
        return total / weight[known].sum().clamp(min=1e-6)

    def features(self, picture: Tensor) -> list[Tensor]:
        """Return hidden features at strides 1 or 2 and coarser, of unit mean magnitude each."""
        seen: list[Tensor] = []
        modules = dict(self.network.named_modules())
        hooks = [
            modules[name].register_forward_hook(partial(_keep, seen))
            for name in _TAPS[type(self.network).__name__]
        ]
        try:
            self.logits(picture)
        finally:
            for hook in hooks:
                hook.remove()
        return [x / x.detach().abs().mean().clamp(min=1e-6) for x in seen]


def _keep(seen: list[Tensor], _: nn.Module, __: Any, out: Tensor) -> None:
    seen.append(out)


def _resize(x: Tensor, sides: Sequence[int]) -> Tensor:
    # In single precision: on a CPU there is no antialiasing in bf16.
    return F.interpolate(x.float(), tuple(sides), mode="bilinear", antialias=True)


def _load_unet(file: Path, labels: LabelSet) -> nn.Module:
    if labels is not HELEN11:
        raise CheckpointError(
            f"unet:{file}: the paper's parser knows helen11 only; set labels=helen11 or give a "
            "face-parsing model"
        )
    if not file.is_file():
        raise CheckpointError(
            f"unet:{file}: no such file. Convert the official latest_net_P.pth first, or give "
            "the folder of a face-parsing model"
        )
    state = models.deserialise(file.read_bytes(), str(file))
    first = state.get("down.0.0.weight")
    network = UNetParser(len(labels), 64 if first is None else len(first))
    tensors = {f"parser.{key}": value for key, value in state.items()}
    models.restore(nn.ModuleDict({"parser": network}), tensors, str(file))
    return network


def _load_system(source: str) -> Any:
    folder = Path(source)
    if source == "bundled":
        folder = BUNDLED
        if not folder.is_dir():
            raise CheckpointError(
                "no parser is bundled with this installation. Give the folder of a trained one "
                "(parser=runs/parser), or set parser=none to train without a parser's judgement"
            )
    system = models.load(folder)
    if not hasattr(system, "logits") or "parser" not in system.networks:
        raise CheckpointError(
            f"{folder} is no face-parsing model (it is a {type(system).__name__})"
        )
    return system
