"""CornerNet and CenterNet (triplets): networks, pools, decoding, losses, suppression, testing."""

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat.cornernet import CORNERNET, TRIPLETS
from pentimento.losses.peaks import offset_smooth_l1, peak_focal, probability, pull_and_push
from pentimento.ops import corners, looks
from pentimento.ops.corner_pairs import pair_corners
from pentimento.ops.peaks import at_places, centre_radius, corner_radius, draw_peak
from pentimento.ops.soft_nms import soft_nms
from pentimento.systems.perceive import centernet_triplets, cornernet


def _config(module: ModuleType, fixture: Fixture) -> Any:
    shapes = fixture.shapes
    kinds, channels = shapes["tl_heats.0.1.weight"][:2]
    stacks = sum(f"cnvs.{stack}.conv.weight" in shapes for stack in range(4))
    classes = tuple(str(kind) for kind in range(kinds))
    return module.Config(classes=classes, channels=channels, stacks=stacks)


def _network(fixture: Fixture, net: nn.Module, points: tuple[str, ...]) -> Any:
    def call(run: Run) -> dict[str, Tensor]:
        image = run.inputs["image"]
        out = {"pre": net.get_submodule("trunk.pre")(image)}
        stacks = net(image)
        out |= {f"test.{name}": value for name, value in stacks[-1].items()}
        for stack, maps in enumerate(stacks):
            for number, point in enumerate(points):
                out[f"train.stack{stack}.{point}_heat"] = maps[f"{point}_heat"]
                for name in ("tag", "regr"):
                    if f"{point}_{name}" in maps:
                        read = at_places(maps[f"{point}_{name}"], run.inputs[f"ind{number}"])
                        out[f"train.stack{stack}.{point}_{name}"] = read
        return out

    return call


def _cornernet(fixture: Fixture) -> Counterpart:
    net = cornernet.CornerDetector(_config(cornernet, fixture))
    return keyed(CORNERNET, net, _network(fixture, net, ("tl", "br")))


def _triplets(fixture: Fixture) -> Counterpart:
    net = centernet_triplets.TripletDetector(_config(centernet_triplets, fixture))
    return keyed(TRIPLETS, net, _network(fixture, net, centernet_triplets.POINTS))


def _pools(run: Run) -> dict[str, Tensor]:
    out = {}
    for name in ("top", "bottom", "left", "right"):
        x = run.inputs["x"].clone().requires_grad_()
        y = getattr(corners, f"{name}_pool")(x)
        (y * torch.cos(0.37 * torch.arange(y.numel()).view_as(y))).sum().backward()
        assert x.grad is not None
        out |= {name: y.detach(), f"{name}_grad": x.grad}
    return out


def _radius(run: Run, radius: Any) -> dict[str, Tensor]:
    out = {}
    for overlap in (0.3, 0.5, 0.7):
        values = [radius(h, w, overlap) for h, w in run.inputs["height_width"].tolist()]
        out[f"radius_{overlap}"] = torch.tensor(values, dtype=torch.float64)
        out[f"int_{overlap}"] = torch.tensor([max(0, int(value)) for value in values])
    return out


def _draw(run: Run) -> dict[str, Tensor]:
    out = {}
    for name, divisor in (("map", 6), ("map_delte5", 5)):
        heat = np.zeros(run.params["shape"], np.float32)
        for x, y, radius in run.params["points_xyr"]:
            draw_peak(heat, x, y, radius, divisor)
        out[name] = torch.from_numpy(heat)
    return out


def _decode(run: Run) -> dict[str, Tensor]:
    k, limit = run.params["K"], run.params["ae_threshold"]
    found = pair_corners(run.inputs, k, apart=limit, boxes=run.params["num_dets"])
    valid = [row[row[:, 4] > -1] for row in found]
    out = {f"valid{number}": row for number, row in enumerate(valid)}
    if "ct_heat" in run.inputs:
        out["center"] = centernet_triplets.centres(run.inputs, k)
    return out | {"n_valid": torch.tensor([len(row) for row in valid])}


def _loss(run: Run) -> dict[str, Tensor]:
    inputs = {name: x.clone() for name, x in run.inputs.items()}
    learnt = {name: x.requires_grad_() for name, x in inputs.items() if name[0] == "s"}
    present = inputs["mask"].bool()
    points = ("tl", "br", "ct") if "gt_ct" in inputs else ("tl", "br")
    parts = {name: torch.zeros(()) for name in ("focal", "pull", "push", "regr")}
    out: dict[str, Tensor] = {}
    for stack in (0, 1):
        at = f"s{stack}."
        for point in points:
            heat = probability(inputs[f"{at}{point}_heat"])
            parts["focal"] = parts["focal"] + peak_focal(heat, inputs[f"gt_{point}"])
            truth = inputs[f"gt_{point}_regr"]
            regr = offset_smooth_l1(inputs[f"{at}{point}_regr"], truth, present)
            parts["regr"] = parts["regr"] + run.params["regr_weight"] * regr
            out |= {f"regr_{point}_s{stack}": regr}
        tags = (inputs[f"{at}tl_tag"][..., 0], inputs[f"{at}br_tag"][..., 0])
        pull, push = pull_and_push(*tags, present)
        out |= {f"pull_s{stack}": pull, f"push_s{stack}": push}
        parts["pull"] = parts["pull"] + run.params["pull_weight"] * pull
        parts["push"] = parts["push"] + run.params["push_weight"] * push
    total = torch.stack(list(parts.values())).sum() / run.params["stacks"]
    total.backward()
    heats = [probability(inputs[f"s{stack}.tl_heat"]) for stack in (0, 1)]
    out |= {name: (value / run.params["stacks"]).view(1) for name, value in parts.items()}
    out |= {
        "loss": total.view(1),
        "neg_loss_tl": sum(peak_focal(heat, inputs["gt_tl"]) for heat in heats),
        "neg_loss_no_positive": sum(peak_focal(heat, 0.9 * inputs["gt_tl"]) for heat in heats),
    }  # fmt: skip
    for name, x in learnt.items():
        assert x.grad is not None
        out |= {f"grad.{name}": x.grad, f"gradnorm.{name}": x.grad.norm()}
    return out


def _suppress(run: Run) -> dict[str, Tensor]:
    p, boxes = run.params, run.inputs["boxes"].numpy()
    method = ("hard", "linear", "exp")[p["method"]]
    how = {"overlap": p["Nt"], "sigma": p["sigma"], "least": p["threshold"]}
    plain, count = soft_nms(boxes[:, :5], method, **how)
    merged, merged_count = soft_nms(boxes, method, merge=p["weight_exp"], **how)
    return {
        "boxes": torch.from_numpy(plain), "n_keep": torch.tensor(count),
        "boxes_merge": torch.from_numpy(merged), "n_keep_merge": torch.tensor(merged_count),
    }  # fmt: skip


def _testing(run: Run) -> dict[str, Tensor]:
    image = run.inputs["image_bgr"].numpy().astype(np.uint8)
    pairs, middles, out = [], [], {}
    for scale in run.params["scales"]:
        seen, look = looks.framed(image, scale)
        if scale == 1:
            out["network_input_scale1"] = torch.from_numpy(seen)
        centred = f"centers_scale{scale}" in run.inputs
        found = run.inputs[f"detections_scale{scale}"].numpy()
        pairs.append(looks.gathered(found, look, drop_outside=centred))
        if centred and scale == 1:
            middles.append(looks.gathered_centres(run.inputs["centers_scale1"].numpy(), look))
    rows = np.concatenate(pairs)
    if middles:
        rows = centernet_triplets.confirmed(rows, np.concatenate(middles))
    kept = looks.best_of(rows, run.params["categories"])
    return out | {f"class{kind + 1}": torch.from_numpy(each) for kind, each in enumerate(kept)}


def _ops(fixture: Fixture) -> Counterpart:
    radius = centre_radius if "triplets" in fixture.name else corner_radius

    def call(run: Run) -> dict[str, Tensor]:
        if run.name == "radius":
            return _radius(run, radius)
        if run.name.startswith("decode"):
            return _decode(run)
        if run.name.startswith("soft_nms"):
            return _suppress(run)
        if run.name.startswith("test"):
            return _testing(run)
        return {"pools": _pools, "draw": _draw, "loss": _loss}[run.name](run)

    return Counterpart(call)


COUNTERPARTS: dict[str, Build] = {
    "cornernet_hg104": _cornernet,
    "cornernet_ops": _ops,
    "centernet_triplets_hg104": _triplets,
    "centernet_triplets_hg52_keys": _triplets,
    "centernet_triplets_ops": _ops,
}
