"""MaskGAN."""

from torch import Tensor, nn

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat import maskgan as compat
from pentimento.nn.critic import MultiscaleCritic
from pentimento.systems.generate.maskgan import (
    Blender,
    DenseMapping,
    MaskDecoder,
    MaskEncoder,
    instance_norm,
)


def _generator(fixture: Fixture) -> Counterpart:
    config = compat.config_of(fixture.shapes)
    net = DenseMapping(config)

    def call(run: Run) -> dict[str, Tensor]:
        mask, own, image = (run.inputs[name] for name in ("mask", "mask_ref", "image_ref"))
        fea1, fea2 = net.style.label_features(own)
        style = net.style(image, own)[:, :, None, None]
        return {"y": net(mask, own, image), "fea1": fea1, "fea2": fea2, "adain_params": style}

    return keyed(compat.generator(config.downs, config.blocks), net, call)


def _blender(fixture: Fixture) -> Counterpart:
    downs = int(fixture.number("n_downsample_global"))
    blocks = int(fixture.number("n_blocks_global"))
    net = Blender(fixture.shapes["model.1.weight"][0], downs, blocks)

    def call(run: Run) -> dict[str, Tensor]:
        y, alpha = net(run.inputs["input1"], run.inputs["input2"])
        return {"y": y, "alpha": alpha}

    return keyed(compat.blender(downs, blocks), net, call)


def _critic(fixture: Fixture) -> Counterpart:
    width, c_in = fixture.shapes["scale0_layer0.0.weight"][:2]
    net = MultiscaleCritic(c_in, width, int(fixture.number("n_layers_D")), norm=instance_norm)

    def call(run: Run) -> dict[str, Tensor]:
        features = net(*run.inputs.values())
        return {
            f"scale_out{i}_feat{j}": feature
            for i, scale in enumerate(features)
            for j, feature in enumerate(scale)
        }

    return keyed(compat.CRITIC, net, call)


def _vae(fixture: Fixture) -> Counterpart:
    width, classes = fixture.shapes["e1.weight"][:2]
    latent = fixture.shapes["fc1.weight"][0]
    levels = sum(key.startswith("e") and key.endswith("weight") for key in fixture.shapes)
    sizes = (classes, 4 * 2**levels, width, latent)
    encoder, decoder = MaskEncoder(*sizes), MaskDecoder(*sizes)

    def call(run: Run) -> dict[str, Tensor]:
        mean, log_variance = encoder(run.inputs["mask"])
        return {
            "mu": mean,
            "logvar": log_variance,
            "rec": decoder(mean),
            "dec_z": decoder(run.inputs["z"]),
        }

    module = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    return keyed(compat.vae(levels), module, call)


COUNTERPARTS: dict[str, Build] = {
    "maskgan_G": _generator,
    "maskgan_blend": _blender,
    "maskgan_D": _critic,
    "maskgan_vae": _vae,
}
