"""StyleGAN2."""

import torch
from torch import Tensor, nn

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat import stylegan2 as compat
from pentimento.nn.stylegan import Critic, Mapping, Synthesis


def _generator(fixture: Fixture) -> Counterpart:
    style = fixture.shapes["style.1.weight"][0]
    depth = sum(key.startswith("style.") for key in fixture.shapes) // 2
    levels = sum(key.startswith("to_rgbs.") and key.endswith("bias") for key in fixture.shapes) // 2
    base = 16384 * int(fixture.number("channel_multiplier"))
    mapping, synthesis = Mapping(style, depth), Synthesis(4 * 2**levels, style, base)

    def call(run: Run) -> dict[str, Tensor]:
        x = run.inputs
        w, other = mapping(x["z"]), mapping(x["z2"])
        layers = synthesis.layers
        cut = x["trunc_latent"] + 0.7 * (w - x["trunc_latent"])
        mixed = torch.cat([repeat(w, 3), repeat(other, layers - 3)], 1)
        return {
            "y_z": synthesis(repeat(w, layers)),
            "latent": repeat(w, layers),
            "y_trunc": synthesis(repeat(cut, layers)),
            "y_wplus": synthesis(x["w_plus"]),
            "y_mix": synthesis(mixed),
        }

    def repeat(w: Tensor, times: int) -> Tensor:
        return w[:, None].expand(-1, times, -1)

    module = nn.ModuleDict({"mapping": mapping, "synthesis": synthesis})
    return keyed(compat.GENERATOR, module, call)


def _critic(fixture: Fixture) -> Counterpart:
    levels = sum(key.endswith("skip.0.kernel") for key in fixture.shapes)
    net = Critic(4 * 2**levels, 16384 * int(fixture.number("channel_multiplier")))
    return keyed(compat.CRITIC, net, lambda run: {"y": net(run.inputs["x"])})


COUNTERPARTS: dict[str, Build] = {"stylegan2_G": _generator, "stylegan2_D": _critic}
