"""DensePose: the whole detector, piece by piece and end to end, chart losses, reading charts."""

from dataclasses import replace

import torch
from torch import Tensor

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run, State
from pentimento.compat.densepose import DENSEPOSE
from pentimento.losses.charts import WEIGHTS, Marks, chart_losses, in_box, resample_masks
from pentimento.nn.rcnn import box_features, level_anchors, prepared, proposals
from pentimento.ops.charts import Charts, read_charts
from pentimento.ops.roi import clip_boxes, roi_align
from pentimento.systems.perceive.densepose import DenseRCNN, paper

_NAMES = {"coarse_segm": "coarse", "fine_segm": "fine", "u": "u", "v": "v"}


def _network(fixture: Fixture) -> Counterpart:
    predictor = "roi_heads.densepose_predictor."
    coarse = fixture.shapes[predictor + "ann_index_lowres.weight"][1]
    parts = fixture.shapes[predictor + "u_lowres.weight"][1] - 1
    net = DenseRCNN(replace(paper(), parts=parts, coarse=coarse))

    def call(run: Run) -> dict[str, Tensor]:
        image, boxes = run.inputs["image_bgr"].float(), run.inputs["boxes"]
        outputs: dict[str, Tensor] = {"preprocessed": prepared(image[None])}
        for i, each in enumerate(net.backbone.bottom_up(outputs["preprocessed"]), 2):
            outputs[f"bottom_up.res{i}"] = each
        levels = net.features(image[None])
        outputs |= {f"fpn.p{i}": each for i, each in enumerate(levels, 2)}
        logits, deltas = net.proposal_generator["rpn_head"](levels)
        outputs |= {f"rpn.objectness.{i}": each for i, each in enumerate(logits)}
        outputs |= {f"rpn.deltas.{i}": each for i, each in enumerate(deltas)}
        anchors = level_anchors(levels)
        outputs["anchors.first_cells"] = torch.cat([each[:3] for each in anchors])
        outputs["anchors.sum"] = torch.cat(anchors).sum(0)
        # Fewer proposals than usual, as the fixture's `constructor` says.
        size = (image.shape[1], image.shape[2])
        few = {"before": 100, "after": 30}
        outputs["rpn.proposals"], outputs["rpn.proposal_logits"] = proposals(
            [x[0] for x in logits], [x[0] for x in deltas], anchors, size, **few
        )
        outputs["given.box_pool"] = box_features(levels, [boxes])
        outputs["given.box_head"] = net.roi_heads["box_head"](outputs["given.box_pool"])
        outputs["given.class_logits"], outputs["given.box_deltas"] = net.boxes(levels, [boxes])
        outputs["dense.decoder"] = net.roi_heads["decoder"](levels[:4])
        outputs["dense.pool"] = roi_align(
            outputs["dense.decoder"], [boxes], (28, 28), 0.25, samples=2, aligned=False
        )
        outputs["dense.head"] = net.roi_heads["densepose_head"](outputs["dense.pool"])
        given = net.charts(levels, [boxes])
        found = net.find(image, least=0.08, **few)
        for name, ours in _NAMES.items():
            outputs[f"dense.{name}"] = getattr(given, ours)
            outputs[f"final.dense.{name}"] = getattr(found.charts, ours)
        height, width = fixture.raw["output_size"]
        scale = torch.tensor([width / size[1], height / size[0]]).repeat(2)
        final = clip_boxes(found.boxes * scale, height, width)
        outputs |= {"final.boxes": final, "final.scores": found.scores}
        outputs["final.classes"] = torch.zeros(len(final), dtype=torch.int64)
        for i in range(3):
            chart = _read(found.charts[i : i + 1], final[i])
            outputs[f"final.chart{i}.labels"], outputs[f"final.chart{i}.uv"] = chart
        return outputs

    def adjust(run: Run, official: State) -> State:
        key = "backbone.bottom_up.stem.conv1.weight"
        assert fixture.raw["fill"]["after_fill"] == f"{key} *= 1/64"
        return official | {key: official[key] / 64}

    made = keyed(DENSEPOSE, net, call)
    return Counterpart(made.call, net, made.to_official, made.from_official, adjust)


def _read(charts: Charts, box: Tensor) -> tuple[Tensor, Tensor]:
    width, height = (box[2:] - box[:2]).int().clamp(min=1).tolist()
    part, uv = read_charts(charts, height, width)
    return part[0], uv[0]


def _charts(run: Run) -> Charts:
    return Charts(*(run.inputs[name] for name in _NAMES))


def _convert(run: Run) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    for i, box in enumerate(run.inputs["boxes"]):
        outputs[f"labels{i}"], outputs[f"uv{i}"] = _read(_charts(run)[i : i + 1], box)
    return outputs


def _painted(n: int) -> Tensor:
    mask = torch.zeros(256, 256)
    for y0, y1, x0, x1, label in (
        (30, 220, 60, 200, 1), (50, 120, 90, 180, 2), (120, 250, 20, 110, 7),
        (130, 240, 140, 230, 14),
    ):  # fmt: skip
        mask[y0 + 5 * n : y1, x0 : x1 - 7 * n] = label
    return mask


def _loss(run: Run) -> dict[str, Tensor]:
    # Image 0 instance 0 and image 1 instance 0 are annotated: rows 0 and 2 of the charts.
    side = run.params["heatmap_size"]
    rows = [0, 2]
    found = torch.cat([run.inputs["proposals0"], run.inputs["proposals1"]])[rows]
    truth = torch.cat([run.inputs["gt0"], run.inputs["gt1"]])[rows]
    columns = {c: [run.inputs[f"ann{n}.{c}"] for n in (0, 1)] for c in "xyiuv"}
    box = torch.arange(2).repeat_interleave(len(columns["x"][0]))
    x, y, part, u, v = (torch.cat(columns[c]) for c in "xyiuv")
    xy = in_box(torch.stack([x, y], 1), truth[box], found[box], side)
    marks = Marks(box, xy, part.long(), torch.stack([u, v], 1))
    masks = resample_masks(torch.stack([_painted(0), _painted(1)]), truth, found, side)
    given = {name: run.inputs[name].clone().requires_grad_() for name in _NAMES}
    weights = run.params["weights"]
    weights = {"points": weights["points"], "part": weights["part"], "coarse": weights["segm"]}
    assert weights == WEIGHTS
    charts = Charts(*(each[rows] for each in given.values()))
    terms = chart_losses(charts, marks, masks, weights)
    sum(terms.values()).backward()  # type: ignore[union-attr]  # there are terms
    outputs = {
        f"loss_densepose_{name}": terms[key].detach()
        for name, key in {"U": "u", "V": "v", "I": "part", "S": "coarse"}.items()
    }
    for name, each in given.items():
        assert each.grad is not None
        outputs |= {f"grad.{name}": each.grad, f"gradnorm.{name}": each.grad.norm()}
    return outputs


def _operators(fixture: Fixture) -> Counterpart:
    return Counterpart(lambda run: _convert(run) if run.name == "convert" else _loss(run))


def _roi_align(run: Run) -> dict[str, Tensor]:
    features, rois = run.inputs["x"].clone().requires_grad_(), run.inputs["rois"]
    # Ours are ordered by picture.
    order = rois[:, 0].argsort(stable=True)
    boxes = [rois[rois[:, 0] == n, 1:] for n in range(len(features))]
    rows, columns = run.params["output_size"]
    pooled = roi_align(
        features,
        boxes,
        (rows, columns),
        run.params["spatial_scale"],
        samples=max(0, run.params["sampling_ratio"]),
        aligned=run.params["aligned"],
    )
    out = pooled[order.argsort()]
    weights = (0.37 * torch.arange(out.numel(), dtype=torch.float32)).cos().reshape(out.shape)
    (out * weights).sum().backward()
    assert features.grad is not None
    out = out.detach()
    return {
        "out": out,
        "per_roi_sum": out.double().sum((1, 2, 3)),
        "per_roi_first": out[:, 0, 0, 0],
        "per_roi_last": out[:, -1, -1, -1],
        "grad_x": features.grad,
    }


def _regions(fixture: Fixture) -> Counterpart:
    return Counterpart(_roi_align)


COUNTERPARTS: dict[str, Build] = {
    "densepose_r50_fpn_s1x": _network,
    "densepose_ops": _operators,
    "op_roi_align": _regions,
}
