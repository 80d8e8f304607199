"""Official SPADE checkpoints (`latest_net_G.pth`, `_E.pth`, `_D.pth`): key maps."""

from typing import Final

from pentimento.compat.official import KeyMap

_BLOCKS: Final = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
_INSIDE: Final = {
    "norm": "param_free_norm", "shared": "mlp_shared.0", "gain": "mlp_gamma", "shift": "mlp_beta",
}  # fmt: skip


def _generator(key: str) -> str:
    part, _, rest = key.partition(".")
    if part != "blocks":
        return f"{'fc' if part == 'first' else 'conv_img'}.{rest}"
    n, layer, tail = rest.split(".", 2)
    if layer.startswith("norm"):
        inside, _, tail = tail.partition(".")
        layer = f"{layer}.{_INSIDE[inside]}"
    return f"{_BLOCKS[int(n)]}.{layer}.{tail}"


def _encoder(key: str) -> str:
    part, _, rest = key.partition(".")
    if part == "layers":
        n, _, tail = rest.partition(".")
        return f"layer{int(n) + 1}.{tail}"
    return f"{'fc_mu' if part == 'mean' else 'fc_var'}.{rest}"


def _critic(key: str) -> str:
    _, scale, layer, place, tail = key.split(".", 4)
    spectral = ".0" if tail in ("weight_orig", "weight_u", "weight_v") else ""
    return f"discriminator_{scale}.model{layer}.{place}{spectral}.{tail}"


GENERATOR: Final = KeyMap("SPADE's generator", _generator)
ENCODER: Final = KeyMap("SPADE's encoder", _encoder)
CRITIC: Final = KeyMap("SPADE's critic", _critic)
