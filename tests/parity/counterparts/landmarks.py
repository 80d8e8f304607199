"""Landmark networks: face-HRNet, stacked hourglass, FAN and its depth network; their arithmetic."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat import keypoint_arithmetic as official
from pentimento.compat.landmarks import DEPTH, FAN, HRNET, PRINCETON
from pentimento.metrics.keypoints import point_errors
from pentimento.ops import heatmaps
from pentimento.ops.landmarks import mirror_order
from pentimento.systems.perceive.hourglass import DepthNet, StackedHourglass
from pentimento.systems.perceive.landmarks import HRNet


def _hrnet(fixture: Fixture) -> Counterpart:
    net = HRNet(fixture.shapes["head.3.weight"][0])
    return keyed(HRNET, net, lambda run: {"out": net(run.inputs["image"])})


def _hourglass(fixture: Fixture) -> Counterpart:
    shapes = fixture.shapes
    points, width = shapes["outs.0.conv.weight"][:2]
    net = StackedHourglass("residual", int(fixture.number("nstack")), width, points)
    return keyed(
        PRINCETON,
        net,
        lambda run: {"out": torch.stack(net(run.inputs["image"].permute(0, 3, 1, 2)), 1)},
    )


def _fan(fixture: Fixture) -> Counterpart:
    points, width = fixture.shapes["l0.weight"][:2]
    net = StackedHourglass("parallel", int(fixture.number("num_modules")), width, points)
    return keyed(FAN, net, lambda run: {str(i): y for i, y in enumerate(net(run.inputs["image"]))})


def _depth(fixture: Fixture) -> Counterpart:
    blocks = [
        len({key.split(".")[1] for key in fixture.shapes if key.startswith(f"layer{level}.")})
        for level in range(1, 5)
    ]
    net = DepthNet(fixture.shapes["fc.weight"][0], blocks)
    return keyed(DEPTH, net, lambda run: {"out": net(run.inputs["image"])})


# Operators. Every case of a file is a function from its run to its outputs.


def _tensors(outputs: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(np.asarray(value)) for name, value in outputs.items()}


def _operators(**cases: Callable[[Run], dict[str, Any]]) -> Build:
    return lambda fixture: Counterpart(lambda run: _tensors(cases[run.name](run)))


def _peaked(maps: np.ndarray, peaks: list[tuple[int, int, int]], height: float) -> np.ndarray:
    maps = maps.copy()
    for joint, y, x in peaks:
        maps[0, joint, y, x] = height
    return maps


def _face_decode(run: Run) -> dict[str, Any]:
    maps = run.inputs["heatmap"].numpy()
    maps = _peaked(maps, [(0, 0, 0), (1, 0, 15), (2, 15, 15), (3, 7, 8), (4, 1, 1)], 2.0)
    maps[1, 0] = -1
    maps[0, 3, 7, [7, 9]] = 0.5
    peaks, points = official.face_hrnet_points(maps)
    final = [
        official.truncated(np.linalg.inv(official.crop_matrix(c, s, 16)), p, base=1)
        for c, s, p in zip(run.params["center"], run.params["scale"], points, strict=True)
    ]
    return {"get_preds": peaks, "final": final}


def _face_targets(run: Run) -> dict[str, Any]:
    return {
        f"map{i}_s{sigma:g}": official.face_hrnet_map(np.array(point), 16, sigma)
        for i, point in enumerate(run.params["points"])
        for sigma in (1, 1.5)
    }


def _face_transform(run: Run) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for i, (point, centre, scale, rotation) in enumerate(run.params["cases"]):
        matrix = official.crop_matrix(centre, scale, 64, rotation)
        outputs[f"matrix{i}"] = official.crop_matrix(centre, scale, 256, rotation)
        outputs[f"fwd{i}"] = official.truncated(matrix, np.array(point), base=1)
        outputs[f"inv{i}"] = official.truncated(np.linalg.inv(matrix), np.array(point), base=1)
    return outputs


def _face_flip(run: Run) -> dict[str, Any]:
    return {
        "300W": mirror_order(68),
        "WFLW": mirror_order(98),
        "AFLW": official.AFLW_MIRROR,
        "COFW": official.COFW_MIRROR,
    }


def _face_nme(run: Run) -> dict[str, Any]:
    outputs = {}
    for count in (68, 98, 29, 19):
        answer, truth = (run.inputs[f"{kind}{count}"].numpy() for kind in "pt")
        ends = {68: (36, 45), 98: (60, 72), 29: official.COFW_EYES}.get(count)
        norm: Any = run.params["box_size_for_19"]
        if ends is not None:
            norm = np.linalg.norm(truth[:, ends[0]] - truth[:, ends[1]], axis=1)
        outputs[f"nme{count}"] = point_errors(answer, truth, np.asarray(norm))
    return outputs


def _dark_decode(run: Run) -> dict[str, Any]:
    maps = run.inputs["heatmaps"]
    points, peak = heatmaps.argmax(maps)
    outputs: dict[str, Any] = {
        "argmax": points.where(peak[..., None] > 0, 0.0),
        "maxvals": peak[..., None],
    }
    maps = maps.clone()
    maps[0, 0], maps[0, 1] = maps[0, 2], maps[0, 3]
    for size in (7, 11, 17):
        outputs[f"blur{size}"] = heatmaps.blurred(maps.double(), size)
        outputs[f"taylor{size}"] = heatmaps.dark(maps, size)[0]
        outputs[f"k{size}_gauss_kernel"] = heatmaps.blur_kernel(size, maps.double())
    shape = (maps.shape[3], maps.shape[2])
    for name, found, dark in (
        ("final_dark", outputs["taylor11"].numpy(), True),
        ("final_hrnet_quarter", official.pose_points(maps.numpy()), False),
    ):
        frames = zip(run.params["center"], run.params["scale"], found, strict=True)
        outputs[name] = [
            _back(official.pose_matrix(c, s, shape, dark=dark), p) for c, s, p in frames
        ]
    return outputs


def _back(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def _dark_taylor(run: Run) -> dict[str, Any]:
    logs = run.inputs["logmap"][None]
    record = next(r for r in run.records if r.name == "table").raw
    starts = torch.tensor(record["values"], dtype=torch.float64).reshape(-1, 4)[:, :2]
    refined = heatmaps.taylor(logs.expand(len(starts), -1, -1), starts)
    return {"table": torch.cat([starts, refined], 1)}


def _dark_affine(run: Run) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for i, case in enumerate(run.params["cases"]):
        for name, dark in (("dark", True), ("hrnet", False)):
            frame = (case["center"], case["scale"], case["output_size"])
            outputs[f"{name}_fwd{i}"] = official.pose_matrix(*frame, case["rot"], dark=dark)
            upright = official.pose_matrix(*frame, dark=dark)  # points go back without rotation
            outputs[f"{name}_pts{i}"] = _back(upright, np.array(run.params["points"]))
    order = torch.tensor([1, 0, 3, 2])
    return outputs | {"flip_back": heatmaps.flip_back(run.inputs["maps"], order)}


def _dark_targets(run: Run) -> dict[str, Any]:
    joints = run.inputs["joints"].numpy().reshape(-1, 3)[:, :2]
    visible = run.inputs["joints_vis"].numpy().reshape(len(joints), -1)[:, 0]
    size, sigma = tuple(run.params["heatmap_size_wh"]), run.params["sigma"]
    outputs: dict[str, Any] = {}
    for name, dark in (("dark", True), ("hrnet", False)):
        maps, weight = official.pose_maps(joints, visible, size, sigma, dark=dark)
        flat = maps.reshape(len(maps), -1)
        outputs |= {
            f"{name}_target": maps,
            f"{name}_weight": weight,
            f"{name}_sums": flat.sum(1, dtype=np.float64),
            f"{name}_argmax": flat.argmax(1),
        }
    return outputs


def _dark_loss(run: Run) -> dict[str, Any]:
    answer, target, weight = (run.inputs[k].numpy() for k in ("output", "target", "weight"))
    return {
        "mse_w": official.weighted_error(answer, target, weight),
        "mse": official.weighted_error(answer, target, None),
        "ohkm": official.hardest_error(answer, target, weight, run.params["topk"]),
    }


def _dark_accuracy(run: Run) -> dict[str, Any]:
    answer, target = (run.inputs[k].numpy() for k in ("output", "target"))
    names = ("acc", "avg", "cnt")
    return dict(zip(names, official.map_accuracy(answer, target, run.params["thr"]), strict=True))


def _fan_decode(run: Run) -> dict[str, Any]:
    peaks = [(0, 0, 0), (1, 0, 63), (2, 63, 0), (3, 63, 63), (4, 30, 30), (5, 1, 62), (6, 62, 1)]
    maps = _peaked(run.inputs["heatmap"].numpy(), peaks, 2.0)
    for y, x in ((30, 29), (30, 31), (29, 30), (31, 30)):
        maps[0, 4, y, x] = 0.5
    points = official.fan_points(maps)
    matrix = official.crop_matrix(run.params["center"], run.params["scale"], 64)
    return {
        "preds": points,
        "preds_orig": official.truncated(np.linalg.inv(matrix), points),
        "scores": maps.max((2, 3)),
    }


def _fan_crop(run: Run) -> dict[str, Any]:
    image = run.inputs["image"].numpy().astype(np.uint8)
    outputs: dict[str, Any] = {}
    for i, case in enumerate(run.params["cases"]):
        names = (f"crop{i}", f"ul{i}", f"br{i}")
        outputs |= zip(names, official.fan_crop(image, case["center"], case["scale"]), strict=True)
    return outputs


def _fan_gaussian(run: Run) -> dict[str, Any]:
    outputs: dict[str, Any] = {"kernel": official.fan_kernel(int(6 * run.params["sigma"] + 1))}
    for i, point in enumerate(run.params["points"]):
        image = official.fan_map(np.array(point), 64, run.params["sigma"])
        outputs |= {
            f"map{i}": image, f"map{i}_sum": image.sum(), f"map{i}_argmax": image.argmax(),
        }  # fmt: skip
    return outputs


def _fan_flip(run: Run) -> dict[str, Any]:
    order = torch.from_numpy(mirror_order(68))
    return {"out": heatmaps.flip_back(run.inputs["maps"], order)}


def _fan_box(run: Run) -> dict[str, Any]:
    frames = [official.fan_frame(box) for box in run.inputs["boxes"].numpy()]
    return {"center_scale": [[*centre, scale] for centre, scale in frames]}


def _princeton_targets(run: Run) -> dict[str, Any]:
    size, sigma = run.params["output_res"], run.params["sigma"]
    points = run.inputs["keypoints"].numpy()[0]
    maps = np.stack([official.princeton_map(point, size, sigma) for point in points])
    flat = maps.reshape(len(maps), -1)
    return {
        "maps": maps,
        "sums": flat.sum(1, dtype=np.float64),
        "argmax": flat.argmax(1),
        "maxima": flat.max(1),
        "kernel": official.princeton_kernel(sigma),
    }


def _princeton_loss(run: Run) -> dict[str, Any]:
    error = run.inputs["pred"] - run.inputs["target"]
    return {"out": error.square().mean((1, 2, 3))}


def _princeton_decode(run: Run) -> dict[str, Any]:
    maps = run.inputs["heatmap"].numpy()
    peaks = [(0, 0, 0), (1, 0, 11), (2, 11, 0), (3, 11, 11), (4, 0, 5), (5, 5, 0), (6, 6, 6)]
    maps = _peaked(maps, peaks, 1.5)
    maps[0, 6, 6, [5, 7]] = 0.4
    maps[0, 6, [5, 7], 6] = 0.3
    maps[0, 7], maps[0, 8] = 0, -1
    raw, value = official.peaks(maps)
    moved = official.princeton_points(maps)
    return {
        "raw": np.concatenate([raw, value[..., None]], -1),
        "adjusted": np.concatenate([moved, value[..., None]], -1),
    }


def _princeton_crop(run: Run) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    point, size = np.array(run.params["point"]), run.params["res"][0]
    for i, case in enumerate(run.params["cases"]):
        upright = official.crop_matrix(case["center"], case["scale"], size)
        outputs[f"matrix{i}"] = official.crop_matrix(
            case["center"], case["scale"], size, case["rot"]
        )
        outputs[f"pt_fwd{i}"] = official.truncated(upright, point)
        outputs[f"pt_inv{i}"] = official.truncated(np.linalg.inv(upright), point)
    return outputs


COUNTERPARTS: dict[str, Build] = {
    "hrnet_face_w18_wflw": _hrnet,
    "hrnet_face_w18_300w_keys": _hrnet,
    "stacked_hourglass_2": _hourglass,
    "fan_2": _fan,
    "fan_resnet_depth": _depth,
    "hrnet_face_ops": _operators(
        decode=_face_decode,
        targets=_face_targets,
        transform=_face_transform,
        flip=_face_flip,
        nme=_face_nme,
    ),
    "dark_pose_ops": _operators(
        decode=_dark_decode,
        taylor_explicit=_dark_taylor,
        affine=_dark_affine,
        targets=_dark_targets,
        loss=_dark_loss,
        accuracy=_dark_accuracy,
    ),
    "fan_ops": _operators(
        decode=_fan_decode,
        crop=_fan_crop,
        gaussian=_fan_gaussian,
        flip=_fan_flip,
        box_to_crop=_fan_box,
    ),
    "stacked_hourglass_ops": _operators(
        heatmap_targets=_princeton_targets,
        loss=_princeton_loss,
        decode=_princeton_decode,
        crop_transform=_princeton_crop,
    ),
    # `tests/metrics/test_keypoints.py` compares: this file has a form of its own.
    "coco_keypoint_metrics": lambda fixture: Counterpart(lambda run: {}),
}
