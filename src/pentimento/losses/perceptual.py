"""Distances between the features that a frozen network sees in two pictures.

No network is ever downloaded, and none is used untrained: VGG comes from a file of the user's, the
network of `weights/features` is bundled.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from pentimento.errors import CheckpointError
from pentimento.nn.features import FeatureNet

LEVEL_WEIGHTS: Final = (1 / 4, 1 / 4, 1 / 4, 1 / 8, 1 / 8)
"""Of relu1_1 … relu5_1, in Mask-Guided Portrait Editing."""

Depth = Literal[16, 19]
_CONVS: Final[Mapping[Depth, tuple[int, ...]]] = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS: Final = (64, 128, 256, 512, 512)
_FIRST_OF_BLOCK: Final = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

BUNDLED: Final = Path(__file__).parents[1] / "weights" / "features" / "model.safetensors"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of [0, 1]


class VGG(nn.Module):
    """The convolutions of VGG (Simonyan & Zisserman 2015), torchvision's keys.

    Args:
        depth: 16 or 19.
        taps: which layers' outputs are wanted, in order: `relu3_1`, or `conv5_4` for what goes
            into relu5_4. Later layers are not built.
    """

    def __init__(self, depth: Depth = 19, taps: Sequence[str] = _FIRST_OF_BLOCK) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.places: list[int] = []
        names: list[str] = []
        channels = 3
        for block, (count, width) in enumerate(zip(_CONVS[depth], _WIDTHS, strict=True), 1):
            for n in range(1, count + 1):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                names += [f"conv{block}_{n}", f"relu{block}_{n}"]
                channels = width
            layers.append(nn.MaxPool2d(2))
            names.append(f"pool{block}")
        self.places = [names.index(tap) for tap in taps]
        self.features = nn.Sequential(*layers[: self.places[-1] + 1])

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Return the tapped outputs of (B, 3, H, W); the caller normalises."""
        seen = []
        for place, layer in enumerate(self.features):
            picture = layer(picture)
            if place in self.places:
                seen.append(picture)
        return seen


def load_vgg(
    file: Path, depth: Depth = 19, taps: Sequence[str] = _FIRST_OF_BLOCK
) -> tuple[VGG, str]:
    """Load VGG from a safetensors file with torchvision's keys (`features.0.weight` …).

    Keys of later layers and of the classifier are allowed and ignored.

    Returns:
        The frozen network and the SHA-256 of the file.

    Raises:
        CheckpointError: the file is not there, is no safetensors file, or lacks a tensor.
    """
    try:
        data = file.read_bytes()
        state = load_tensors(data)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file}: no readable safetensors file of VGG-{depth} ({error}). Name one in "
            "torchvision's layout (`pentimento convert vgg19.pth -o vgg19.safetensors` makes one "
            "of torchvision's own file), or choose another judge: `features` is bundled, `parser` "
            "and `none` are there for portraits"
        ) from error
    net = VGG(depth, taps)
    _fill(net, state, f"{file}: is not torchvision's VGG-{depth}")
    return net, sha256(data).hexdigest()


def load_features(file: Path = BUNDLED) -> tuple[FeatureNet, str]:
    """Load a feature network from the model file of the system `features`; the bundled one.

    Returns:
        The frozen network and the SHA-256 of the file.

    Raises:
        CheckpointError: there is none.
    """
    try:
        data = file.read_bytes()
        tensors = load_tensors(data)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: no readable feature network ({error})") from error
    prefix = "features."
    state = {k.removeprefix(prefix): v.float() for k, v in tensors.items() if k.startswith(prefix)}
    widths = [len(state[key]) for key in sorted(state) if key.endswith(".1.weight")]
    net = FeatureNet(widths)
    _fill(net, state, f"{file}: holds no feature network")
    return net, sha256(data).hexdigest()


def _fill(net: nn.Module, state: Mapping[str, Tensor], complaint: str) -> None:
    wanted = net.state_dict()
    wrong = [k for k, value in wanted.items() if k not in state or state[k].shape != value.shape]
    if wrong or not wanted:
        raise CheckpointError(f"{complaint}: {', '.join(wrong[:4])} …")
    net.load_state_dict({key: state[key] for key in wanted})
    net.eval().requires_grad_(False)


class Judge:
    """A frozen network that is asked and never trained; its file is opened when first needed.

    Args:
        source: `features`, the bundled network; `vgg16:FILE` or `vgg19:FILE` (safetensors).
        taps: layers of VGG; of `features` all levels are seen.
        imagenet: show VGG colours normalised as it learnt them; pix2pixHD, SPADE and portrait
            editing show it [-1, 1].

    Attributes:
        digest: SHA-256 of the network's file, (32,) uint8; empty before the first question. A
            resumed run puts it back, and another file is then refused.
    """

    def __init__(
        self, source: str, taps: Sequence[str] = _FIRST_OF_BLOCK, *, imagenet: bool = True
    ) -> None:
        self.source, self.taps = source, tuple(taps)
        self._normalised = imagenet and source != "features"
        self.digest = torch.zeros(0, dtype=torch.uint8)
        self._network: nn.Module | None = None

    def __call__(self, picture: Tensor) -> list[Tensor]:
        """Return the features of (B, 3, H, W) in [-1, 1], fine to coarse.

        Raises:
            CheckpointError: there is no such file, or another one than the run began with.
        """
        if self._network is None:
            self._network = self._open()
        network = self._network.to(picture.device)
        if self._normalised:
            mean, deviation = (picture.new_tensor(x)[:, None, None] for x in (_MEAN, _DEVIATION))
            picture = (picture / 2 + 0.5 - mean) / deviation
        seen: list[Tensor] = network(picture)
        return seen

    def _open(self) -> nn.Module:
        kind, _, name = self.source.partition(":")
        network: nn.Module
        # Building draws weights that are never used: a resumed run opens the file later, and must
        # not draw other noise for it.
        with torch.random.fork_rng(devices=[]):
            if kind == "features":
                network, digest = load_features()
            else:
                network, digest = load_vgg(Path(name), 16 if kind == "vgg16" else 19, self.taps)
        found = torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8)
        if self.digest.numel() and not found.equal(self.digest):
            raise CheckpointError(
                f"{self.source} is not the network that this run began with: its file has changed"
            )
        self.digest = found
        return network


def check_judge(source: str) -> None:
    """Refuse what `Judge` does not know with a ValueError; files are not looked for."""
    kind, colon, name = source.partition(":")
    if source != "features" and not (kind in ("vgg16", "vgg19") and colon and name):
        raise ValueError(f"judge: features, vgg16:FILE or vgg19:FILE, got {source!r}")


def gram(features: Tensor) -> Tensor:
    """Return how channels go together: (B, C, h, w) → (B, C, C), divided by C·h·w.

    Johnson et al. (2016), equation 3.
    """
    flat = features.flatten(2)
    products: Tensor = flat @ flat.transpose(1, 2)
    return products / (flat.shape[1] * flat.shape[2])


def look_alike(fakes: Sequence[Tensor], reals: Sequence[Tensor]) -> Tensor:
    """Return how differently pictures look, (B,) ≥ 0; 0 for equal ones.

    The features of a place are brought to length 1; what counts is the squared distance, averaged
    over places and summed over levels (LPIPS, Zhang et al. 2018, equation 1, with equal weights).
    """
    distances = [
        (F.normalize(fake, dim=1) - F.normalize(real, dim=1)).square().sum(1).mean((1, 2))
        for fake, real in zip(fakes, reals, strict=True)
    ]
    return torch.stack(distances).sum(0)


def feature_distance(
    fakes: Sequence[Tensor], reals: Sequence[Tensor], weights: Sequence[float], where: Tensor
) -> Tensor:
    """Return the weighted sum over levels of the mean absolute difference of features.

    Args:
        fakes: features of the picture that learns, (B, C, h, w) per level.
        reals: features of the other one.
        weights: of the levels.
        where: (B, P, H, W) ≥ 0, how much each pixel counts for each of P regions. A feature counts
            for a region as much as the pixel of its own that counts most; regions add up.
    """
    distances = [
        weight * ((fake - real).abs() * _pooled(where, fake)).mean()
        for weight, fake, real in zip(weights, fakes, reals, strict=True)
    ]
    return torch.stack(distances).sum()


def _pooled(where: Tensor, features: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(where, features.shape[-2:]).sum(1, keepdim=True)
