"""SPADE."""

import re

from torch import Tensor, nn

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat import spade as compat
from pentimento.losses.adversarial import hinge, wasserstein
from pentimento.systems.generate.spade import Critic, Encoder, Generator, matching, scores


def _generator(fixture: Fixture) -> Counterpart:
    doublings = 6 if "num_upsampling_layers=more" in fixture.constructor else 5
    first = fixture.shapes["fc.weight"]
    hidden, seen = fixture.shapes["head_0.norm_0.mlp_shared.0.weight"][:2]
    style = first[1] if len(first) == 2 else 0
    size = [int(fixture.number("crop_size"))] * 2
    width = fixture.shapes["head_0.conv_0.weight_orig"][0] // 16
    net = Generator(seen, width, doublings, hidden, style, size)
    return keyed(
        compat.GENERATOR, net, lambda run: {"y": net(run.inputs["seg"], run.inputs.get("z"))}
    )


def _encoder(fixture: Fixture) -> Counterpart:
    width = fixture.shapes["layer1.0.weight_orig"][0]
    net = Encoder(width, fixture.shapes["fc_mu.weight"][0])

    def call(run: Run) -> dict[str, Tensor]:
        seen: list[Tensor] = []
        hook = net.layers[1][0].register_forward_hook(lambda *args: seen.append(args[2].clone()))
        mean, log_variance = net(run.inputs["x"])
        hook.remove()
        return {"mu": mean, "logvar": log_variance, "@layer2.0": seen[0]}

    return keyed(compat.ENCODER, net, call)


def _critic(fixture: Fixture) -> Counterpart:
    width, seen = fixture.shapes["discriminator_0.model0.0.weight"][:2]
    scales = {key.split(".")[0] for key in fixture.shapes}
    layers = {found[1] for key in fixture.shapes if (found := re.search(r"model(\d+)", key))}
    net = Critic(seen, width, len(layers) - 2, len(scales))

    def call(run: Run) -> dict[str, Tensor]:
        tapped: list[Tensor] = []

        def tap(_: nn.Module, __: object, out: Tensor) -> Tensor:
            tapped.append(out.clone())
            # The recorder's tap handed its first value on: behind this layer, the passes that the
            # losses were recorded from go on with what it gave for `x`. Features and scores of the
            # networks are not touched by that, the recorded losses are.
            return tapped[0]

        reals = net(run.inputs["x"])
        features = {
            f"D{i}_feat{j}": x for i, scale in enumerate(reals) for j, x in enumerate(scale)
        }
        mode = net.training
        net.eval()  # the losses are of frozen u and v
        hook = net.scales[0][1][0].register_forward_hook(tap)  # type: ignore[index,operator]
        real, fake = net(run.inputs["x"]), net(run.inputs["x_fake"])
        hook.remove()
        net.train(mode)
        losses = {
            "hinge_D_real": hinge(scores(real), True) / len(scales),
            "hinge_D_fake": hinge(scores(fake), False) / len(scales),
            "hinge_G": wasserstein(scores(fake), True) / len(scales),
            "feature_matching": 10 * matching(fake, real),
        }
        told = {f"loss/{name}": loss.reshape(1) for name, loss in losses.items()}
        return {**features, **told, "@discriminator_0.model1.0.0": tapped[0]}

    return keyed(compat.CRITIC, net, call)


COUNTERPARTS: dict[str, Build] = {
    "spade_G_normal": _generator,
    "spade_G_more_vae": _generator,
    "spade_E_conv": _encoder,
    "spade_D_multiscale": _critic,
}
