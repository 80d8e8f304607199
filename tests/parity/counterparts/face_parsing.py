"""Face parsing: U-Net and BiSeNet."""

import torch
from torch import Tensor

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat.face_parsing import BISENET, UNET
from pentimento.systems.perceive import face_parsing


def _unet(fixture: Fixture) -> Counterpart:
    widths = [fixture.shapes[f"conv{i}.conv1.0.weight"][0] for i in range(1, 5)]
    widths.append(fixture.shapes["center.conv1.0.weight"][0])
    net = face_parsing.UNet(widths, fixture.shapes["final.weight"][0])
    return keyed(UNET, net, lambda run: {"y": net(run.inputs["x"])[0]})


def _bisenet(fixture: Fixture) -> Counterpart:
    net = face_parsing.BiSeNet(int(fixture.number("n_classes")))
    stages = {
        "cp.feat_res8": (net.backbone, 0),
        "cp.feat_cp8": (net.head16, ...),
        "cp.feat_cp16": (net.head32, ...),
    }

    def call(run: Run) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        hooks = [
            stage.register_forward_hook(
                lambda _, __, out, name=name, pick=pick: seen.update({name: out[pick].clone()})
            )
            for name, (stage, pick) in stages.items()
        ]
        outputs = dict(zip(("out", "out16", "out32"), net(run.inputs["image"]), strict=True))
        for hook in hooks:
            hook.remove()
        return seen | outputs

    return keyed(BISENET, net, call)


def _ohem(fixture: Fixture) -> Counterpart:
    def call(run: Run) -> dict[str, Tensor]:
        labels = run.inputs["labels"].clone()
        labels[1, :2] = 255  # the rule of the recorded edit
        logits = run.inputs["logits"]
        classes = logits.shape[1]
        easy = torch.nn.functional.one_hot(labels.clamp(max=classes - 1), classes).movedim(-1, 1)
        logits = (logits + run.params["easy_boost"] * easy).requires_grad_()
        loss = face_parsing.ohem(logits, labels, run.params["n_min"], run.params["thresh"])
        loss.backward()
        assert logits.grad is not None
        return {"loss": loss.detach(), "gradnorm": logits.grad.norm(), "grad": logits.grad}

    return Counterpart(call)


COUNTERPARTS: dict[str, Build] = {
    "celebamask_face_parsing_unet": _unet,
    "bisenet_face": _bisenet,
    "bisenet_ohem": _ohem,
}
