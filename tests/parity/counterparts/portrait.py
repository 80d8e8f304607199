"""Mask-Guided Portrait Editing."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from parity.counterparts import Build, Counterpart
from parity.fixture import Fixture, Run, State
from pentimento.compat.portrait import NETWORKS, from_official, to_official
from pentimento.labels import HELEN11
from pentimento.losses.adversarial import cross_entropy
from pentimento.nn import mgpe
from pentimento.nn.critic import MultiscaleCritic

Outputs = dict[str, Tensor]

# Our part → the official word for it.
_OFFICIAL = {
    "right_eye": "left_eye", "left_eye": "right_eye", "skin": "skin", "hair": "hair",
    "mouth": "mouth",
}  # fmt: skip


def _mapped(name: str, net: nn.Module, call: Callable[[Run], Outputs]) -> Counterpart:
    return Counterpart(call, net, partial(to_official, name), partial(from_official, name))


def _encoder(part: str, fixture: Fixture) -> Counterpart:
    net = mgpe.part_encoders(256, fixture.shapes["conv.0.conv.weight"][0], 512).parts[part]

    def call(run: Run) -> Outputs:
        mean, log_variance = net(run.inputs["x"])
        return {"mu": mean, "logvar": log_variance}

    return _mapped(f"encoder_{_OFFICIAL[part]}", net, call)


def _decoder(part: str, picture: bool, fixture: Fixture) -> Counterpart:
    width = fixture.shapes["conv.0.conv.0.weight"][0] // 8
    make = mgpe.picture_decoders if picture else mgpe.part_decoders
    net = make(256, width, 512).parts[part]
    name = f"decoder_{_OFFICIAL[part]}" + ("_image" if picture else "")
    return _mapped(name, net, lambda run: {"y": net(run.inputs["z"])})


def _generator(fixture: Fixture) -> Counterpart:
    width, classes = fixture.shapes["downsample_model.1.weight"][:2]
    net = mgpe.Generator(classes, fixture.shapes["model.0.weight"][1] - 4 * width, width)

    def call(run: Run) -> Outputs:
        return {
            "label_encoder": net.label_encoder(run.inputs["label"]),
            "image_G": net.painter(run.inputs["embed"]),
            "bg_encoder": net.background_encoder(run.inputs["bg"]),
            "bg_decoder": net.fuse(run.inputs["fuse"]),
        }

    return _mapped("G", net, call)


def _critic(fixture: Fixture) -> Counterpart:
    width, channels = fixture.shapes["scale0_layer0.0.weight"][:2]
    net = MultiscaleCritic(channels, width, norm=nn.BatchNorm2d)

    def call(run: Run) -> Outputs:
        scales = net(torch.cat([run.inputs["label"], run.inputs["image"]], 1))
        outputs = {}
        for n, features in enumerate(scales):
            outputs |= {f"scale_out{n}_feat": features[-2], f"scale_out{n}_logits": features[-1]}
        scores = [features[-1] for features in scales]
        for name, real in (("real", True), ("fake", False)):
            outputs[f"loss/bce_{name}"] = cross_entropy(scores, real)[None]
        return outputs

    return _mapped("D", net, call)


def _parser(fixture: Fixture) -> Counterpart:
    outer = fixture.shapes["model.model.3.weight"]
    net = mgpe.UNetParser(outer[1], fixture.shapes["model.model.0.weight"][0])
    uncropped: list[Tensor] = []
    net.up[0].register_forward_hook(lambda _, __, out: uncropped.append(out))

    def call(run: Run) -> Outputs:
        y = net(run.inputs["x"])
        return {"y": y, "pre_tanh": uncropped.pop()}

    return _mapped("P", net, call)


def _full_forward(fixture: Fixture) -> Counterpart:
    nets = nn.ModuleDict(
        {
            "generator": mgpe.Generator(11, 5 * 256),
            "parser": mgpe.UNetParser(),
            "encoders": mgpe.part_encoders(256, 64, 512),
            "decoders": mgpe.part_decoders(256, 64, 512),
        }
    )
    kept = ["G", "P", *(f"{kind}_{part}" for kind in ("encoder", "decoder") for part in
            ("skin", "hair", "left_eye", "right_eye", "mouth"))]  # fmt: skip

    def theirs(state: State) -> State:
        out = {}
        for name in kept:
            path = NETWORKS[name][0]
            part = {k.removeprefix(path): v for k, v in state.items() if k.startswith(path)}
            out |= {f"{name}/{k}": v for k, v in to_official(name, part).items()}
        return out

    def ours(state: State) -> State:
        out = {}
        for name in kept:
            part = {
                k.removeprefix(f"{name}/"): v for k, v in state.items() if k.startswith(f"{name}/")
            }
            out |= {NETWORKS[name][0] + k: v for k, v in from_official(name, part).items()}
        return out

    return Counterpart(partial(_whole_edit, nets, fixture), nets, theirs, ours)


def _painted(rects: list[list[int]]) -> Tensor:
    labels = torch.zeros(1, 256, 256, dtype=torch.long)
    for value, top, bottom, left, right in rects:
        labels[:, top:bottom, left:right] = value
    return labels


def _whole_edit(nets: nn.ModuleDict, fixture: Fixture, run: Run) -> Outputs:
    out: Outputs = {}
    layouts, photos, centres = {}, {}, {}
    for tag in ("style", "edit"):
        labels = _painted(fixture.raw[f"rects_{tag}"])
        layouts[tag] = mgpe.lay_out(labels, HELEN11, 1.1)
        photo = run.inputs[f"photo_{tag}"].permute(2, 0, 1)[None]
        photos[tag] = (photo.float() / 255 - 0.5) / 0.5
        middles = {
            part: box[:, :2] + torch.tensor(mgpe.PARTS[part].shape) // 2
            for part, box in layouts[tag].boxes.items()
        }
        centres[tag] = middles
        out[f"label_{tag}"] = layouts[tag].labels[:, None].float()
        out[f"centres_{tag}"] = torch.cat(
            [middles[part] for part in ("right_eye", "left_eye", "mouth")], 1
        ).float()
    if run.mode == "-":
        return out
    generator = nets["generator"]
    seen = mgpe.crops(photos["style"], layouts["style"])
    codes = nets["encoders"](seen)
    features = nets["decoders"]({part: mean for part, (mean, _) in codes.items()})
    out["mouth_crop"] = seen["mouth"]
    for part, official in _OFFICIAL.items():
        out[f"encoder_{official}_mu"], out[f"encoder_{official}_logvar"] = codes[part]
        out[f"decoder_{official}"] = features[part]
    for tag, layout in layouts.items():
        onehot = nn.functional.one_hot(layout.labels, 11).permute(0, 3, 1, 2).float()
        canvas = mgpe.canvas(features, layout)
        guide = generator.label_encoder(onehot)
        face = generator.painter(torch.cat([guide, canvas], 1))
        background = generator.background_encoder(photos[tag])
        y = generator(onehot, canvas, photos[tag], layout.outside)
        # atanh of saturated pixels is lost, so the last layers are run once more without it.
        pre_tanh = generator.fuse[:-1](torch.cat([face, background * layout.outside], 1))
        out |= {f"G.label_encoder_{tag}": guide, f"G.face_{tag}": face, f"y_{tag}": y}
        out |= {f"G.bg_encoder_{tag}": background, f"pre_tanh_{tag}": pre_tanh}
        for n, part in enumerate(("right_eye", "left_eye", "skin", "hair", "mouth")):
            if part in ("skin", "hair"):
                continue
            y0, x0 = centres[tag][part][0].tolist()
            r, q = (12, 20) if part == "mouth" else (8, 10)
            cy, cx = int(y0 / 4 + 0.5), int(x0 / 4 + 0.5)
            name = _OFFICIAL[part]
            block = canvas[:, 256 * n : 256 * (n + 1)]
            out[f"canvas_{name}_{tag}_crop"] = block[..., cy - r : cy + r, cx - q : cx + q]
            out[f"pre_tanh_{tag}_{name}_crop"] = pre_tanh[
                ..., y0 - 2 * r : y0 + 2 * r, x0 - 2 * q : x0 + 2 * q
            ]
    out["parse_edit"] = nets["parser"](out["y_edit"])
    return out


COUNTERPARTS: dict[str, Build] = {
    "mgpe_encoder_eye": partial(_encoder, "right_eye"),
    "mgpe_encoder_mouth": partial(_encoder, "mouth"),
    "mgpe_encoder_skin": partial(_encoder, "skin"),
    "mgpe_decoder_eye": partial(_decoder, "right_eye", False),
    "mgpe_decoder_mouth": partial(_decoder, "mouth", False),
    "mgpe_decoder_skin": partial(_decoder, "skin", False),
    "mgpe_decoder_eye_image": partial(_decoder, "right_eye", True),
    "mgpe_decoder_mouth_image": partial(_decoder, "mouth", True),
    "mgpe_decoder_skin_image": partial(_decoder, "skin", True),
    "mgpe_G": _generator,
    "mgpe_D": _critic,
    "mgpe_P": _parser,
    "mgpe_full_forward": _full_forward,
}
