"""BicycleGAN."""

from torch import Tensor

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat import bicyclegan as compat
from pentimento.compat import pix2pix as plain_compat
from pentimento.losses.adversarial import least_squares
from pentimento.nn.norm import instance_norm
from pentimento.nn.unet import UNet, with_style
from pentimento.systems.generate.bicyclegan import StyleEncoder, TwoScaleCritic


def _generator(fixture: Fixture) -> Counterpart:
    style = int(fixture.number("nz"))
    everywhere = "model.down.0.weight" in fixture.shapes
    first, last = ("down.0", "up.1") if everywhere else ("model.0", "model.3")
    width, c_in = fixture.shapes[f"model.{first}.weight"][:2]
    downs = sum(len(shape) == 4 for shape in fixture.shapes.values()) // 2
    net = UNet(
        c_in - style * everywhere,
        fixture.shapes[f"model.{last}.weight"][1],
        width,
        downs,
        norm=instance_norm,
        bias=True,
        style=style * everywhere,
        skips_first=False,
    )

    def call(run: Run) -> dict[str, Tensor]:
        x, z = run.inputs["x"], run.inputs["z"]
        return {"y": net(x, z) if everywhere else net(with_style(x, z))}

    return keyed(compat.GENERATOR if everywhere else plain_compat.unet(downs), net, call)


def _encoder(fixture: Fixture) -> Counterpart:
    width, channels = fixture.shapes["conv.0.weight"][:2]
    blocks = sum(key.endswith("shortcut.1.weight") for key in fixture.shapes)
    net = StyleEncoder(channels, fixture.shapes["fc.0.weight"][0], width, blocks)

    def call(run: Run) -> dict[str, Tensor]:
        mean, log_variance = net(run.inputs["x"])
        return {"mu": mean, "logvar": log_variance}

    return keyed(compat.ENCODER, net, call)


def _critic(fixture: Fixture) -> Counterpart:
    width, channels = fixture.shapes["model_0.0.weight"][:2]
    layers = sum(k.startswith("model_0") and len(s) == 4 for k, s in fixture.shapes.items()) - 2
    net = TwoScaleCritic(channels, width, layers)

    def call(run: Run) -> dict[str, Tensor]:
        found = net(run.inputs["x"])
        losses = {
            f"loss/lsgan_{word}": least_squares(found, word == "real").reshape(1)
            for word in ("real", "fake")
        }
        return {f"scale_out{n}": scale for n, scale in enumerate(found)} | losses

    return keyed(compat.CRITIC, net, call)


COUNTERPARTS: dict[str, Build] = {
    "bicyclegan_G_unet_add_all_128": _generator,
    "bicyclegan_G_unet_add_all_256": _generator,
    "bicyclegan_G_unet_add_input_256": _generator,
    "bicyclegan_E_resnet_256": _encoder,
    "bicyclegan_D_basic_256_multi": _critic,
}
