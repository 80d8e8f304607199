"""RetinaFace: both networks, priors, offsets, suppression, the whole detection and the loss."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat.retinaface import RETINAFACE
from pentimento.ops import boxes
from pentimento.ops.nms import nms
from pentimento.systems.perceive import retinaface


def _network(fixture: Fixture) -> Counterpart:
    mobile = "body.stage1.0.0.weight" in fixture.shapes
    config = retinaface.paper() if mobile else retinaface.resnet50()
    width = fixture.shapes["fpn.output1.0.weight"][0]
    sides = fixture.shapes["ClassHead.0.conv1x1.weight"][0] // 2
    priors = tuple(tuple(range(1, sides + 1)) for _ in range(3))  # their number is all that counts
    net = retinaface.Detector(replace(config, width=width, priors=priors))

    def call(run: Run) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}

        def keep(name: str, first: int) -> object:
            def hook(_: object, __: object, out: list[Tensor]) -> None:
                seen.update({f"{name}.{i}": each.clone() for i, each in enumerate(out, first)})

            return hook

        hooks = [
            net.body.register_forward_hook(keep("body", 1)),
            net.pyramid.register_forward_hook(keep("fpn", 0)),
        ]
        # The recorded picture is BGR without its mean; ours is asked for RGB with it.
        mean = torch.tensor(retinaface._BGR_MEAN)[:, None, None]
        raw = net((run.inputs["image"] + mean).flip(1))
        for hook in hooks:
            hook.remove()
        return {
            **seen,
            "loc": raw.boxes,
            "conf": raw.scores,
            "landm": raw.points,
            "conf_softmax": raw.scores.softmax(-1),
        }

    return keyed(RETINAFACE, net, call)


def _priors(run: Run) -> Tensor:
    """Return priors as the official code has them: in shares of the picture's size."""
    height, width = run.params["image_size"]
    grid = retinaface.priors(height, width, retinaface.paper().priors)
    return grid / torch.tensor([width, height, width, height])


def _prior_case(run: Run) -> dict[str, Tensor]:
    grid = _priors(run)
    return {
        "priors": grid,
        "first": grid[:4],
        "last": grid[-4:],
        "column_sums": grid.double().sum(0),
    }


def _decode_case(run: Run) -> dict[str, Tensor]:
    own, points = run.inputs["priors"], run.inputs["gt_landm"].unflatten(1, (5, 2))
    landmarks = run.inputs["landm"].unflatten(1, (5, 2))
    return {
        "decode": boxes.decode(run.inputs["loc"], own),
        "decode_landm": boxes.decode_points(landmarks, own).flatten(1),
        "encode": boxes.encode(run.inputs["gt"], own),
        "encode_landm": boxes.encode_points(points, own).flatten(1),
    }


def _nms_case(run: Run) -> dict[str, Tensor]:
    def keep(name: str, overlap: float) -> Tensor:
        found = run.inputs[name].numpy()
        return torch.from_numpy(nms(found[:, :4], found[:, 4], overlap, pixel=1.0))

    return {
        "keep_04": keep("dets", 0.4),
        "keep_02": keep("dets", 0.2),
        "tiny_04": keep("tiny", 0.4),
    }


def _detect_case(run: Run) -> dict[str, Tensor]:
    height, width = run.params["image_size"]
    limits = run.params["thresholds"]
    found = retinaface.found_faces(
        retinaface.Raw(
            run.inputs["conf"], run.inputs["loc"], run.inputs["landm"], torch.zeros(0, 0)
        ),
        retinaface.priors(height, width, retinaface.paper().priors),
        limits["score"],
        overlap=limits["nms"],
        most=(limits["top_k"], limits["keep_top_k"]),
    )
    rows = np.column_stack([found.boxes.xyxy, found.boxes.scores])
    return {
        "dets": torch.from_numpy(rows),
        "landms": torch.from_numpy(found.points.reshape(len(rows), -1)),
    }


def _loss_case(run: Run) -> dict[str, Tensor]:
    height, width = run.params["image_size"]
    config = replace(
        retinaface.paper(), overlap=run.params["overlap"], negatives=run.params["neg_pos"]
    )
    system = retinaface.RetinaFace(config)
    truths = [run.inputs[f"targets{i}"] for i in range(3)]
    most = max(map(len, truths))
    rows = torch.stack([F.pad(truth, (0, 0, 0, most - len(truth))) for truth in truths])
    rows[..., :14:2] *= width
    rows[..., 1:14:2] *= height
    points = rows[..., 4:14].unflatten(-1, (5, 2)).clone()
    points[rows[..., 14] < 0] = torch.nan
    batch = retinaface.Batch(
        torch.zeros(3, 3, height, width), rows[..., :4], points, torch.zeros(3, most, 0, 3)
    )
    parts = [run.inputs[name].requires_grad_() for name in ("conf", "loc", "landm")]
    raw = retinaface.Raw(*parts, torch.zeros(*parts[0].shape[:2], 0))
    with torch.enable_grad():
        terms = system.losses(raw, batch)
        grads = torch.autograd.grad(sum(terms.values()), parts)
    grid = retinaface.priors(height, width, config.priors)
    face = torch.stack(
        [retinaface.match(each, grid, config.overlap, config.forced) for each in batch.boxes]
    )
    n, a = (face >= 0).nonzero(as_tuple=True)
    m = face[n, a]
    known = points[n, m].isfinite().all(-1).all(-1)
    outputs = {
        "loss_l": terms["box"].detach() / config.box_weight,
        "loss_c": terms["score"].detach(),
        "loss_landm": terms["points"].detach(),
        "conf_t_nonzero": torch.stack([n, a]),
        "conf_t_values": rows[n, m, 14].long(),
        "loc_t": boxes.encode(batch.boxes[n, m], grid[a]),
        "landm_t": boxes.encode_points(points[n, m], grid[a])[known].flatten(1),
    }
    for name, grad in zip(("conf", "loc", "landm"), grads, strict=True):
        outputs |= {f"grad_{name}": grad, f"gradnorm_{name}": grad.norm()}
    return outputs


_CASES = {"decode": _decode_case, "nms": _nms_case, "detect": _detect_case, "loss": _loss_case}


def _ops(fixture: Fixture) -> Counterpart:
    return Counterpart(lambda run: _CASES.get(run.name.split("/")[-1], _prior_case)(run))


COUNTERPARTS: dict[str, Build] = {
    "retinaface_mnet025": _network,
    "retinaface_r50": _network,
    "retinaface_ops": _ops,
}
