"""CenterNet (points): networks, decoding, losses, peaks."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture, Run
from pentimento.compat.centernet import CENTERNET
from pentimento.losses.peaks import peak_focal, probability, value_l1
from pentimento.nn.dla import DLAUp
from pentimento.ops.frames import cut, inverse, kept_resolution, moved, similarity
from pentimento.ops.peaks import at_places, centre_radius, draw_peak
from pentimento.systems.perceive import centernet


def _heads(fixture: Fixture, last: str) -> dict[str, int]:
    names = [key.removesuffix(last) for key in fixture.shapes if key.endswith(last)]
    wanted = [name for name in names if "." not in name and name != "deconv_layers"]
    return {name: fixture.shapes[name + last][0] for name in wanted}


def _resnet(fixture: Fixture) -> Counterpart:
    deformable = "deconv_layers.0.conv_offset_mask.weight" in fixture.shapes
    trunk = centernet.ResNetTrunk(fixture.shapes["conv1.weight"][0], deformable=deformable)
    inner = fixture.shapes["hm.0.weight"][0]
    net = centernet.Points(trunk, _heads(fixture, ".2.weight"), inner)
    return keyed(CENTERNET, net, lambda run: net(run.inputs["image"])[0])


def _dla(fixture: Fixture) -> Counterpart:
    trunk = DLAUp()
    heads = _heads(fixture, ".2.weight")
    net = centernet.Points(trunk, heads, fixture.shapes["hm.0.weight"][0])

    def call(run: Run) -> dict[str, Tensor]:
        levels = trunk.base(run.inputs["image"])
        seen = {f"base.level{i}": level for i, level in enumerate(levels)}
        raised = {f"dla_up.{i}": x for i, x in enumerate(trunk.dla_up(levels[2:]))}
        return seen | raised | net(run.inputs["image"])[0]

    return keyed(CENTERNET, net, call)


def _hourglass(fixture: Fixture) -> Counterpart:
    heads = {name: fixture.shapes[f"{name}.0.1.weight"][0] for name in ("hm", "wh", "reg")}
    net = centernet.StackedPoints(heads)

    def call(run: Run) -> dict[str, Tensor]:
        stacks = net(run.inputs["image"])
        return {f"stack{i}.{k}": v for i, maps in enumerate(stacks) for k, v in maps.items()}

    return keyed(CENTERNET, net, call)


def _ctdet(run: Run) -> dict[str, Tensor]:
    heat, k = run.inputs["hm"].sigmoid(), run.params["K"]
    wh, reg = run.inputs["wh"], run.inputs["reg"]
    return {
        "plain": centernet.decode(heat, wh, reg, k),
        "no_reg": centernet.decode(heat, wh, None, k),
        "cat_spec": centernet.decode(heat, run.inputs["wh_cat"], reg, k),
    }


def _plateau(run: Run) -> dict[str, Tensor]:
    heat = torch.zeros(1, 2, 6, 6)
    heat[0, 0, 2:4, 2:4], heat[0, 1, 5, 5], heat[0, 0, 0, 0] = 0.7, 0.6, 0.5
    found = centernet.decode(heat, torch.full((1, 2, 6, 6), 2.0), torch.zeros(1, 2, 6, 6), 6)
    return {"scores": found[..., 4]}


def _pose(run: Run) -> dict[str, Tensor]:
    i, k = run.inputs, run.params["K"]
    maps = {"hm": i["hm"].sigmoid(), "hps": i["kps"]}
    objects = centernet.decode(maps["hm"], i["wh"], i["reg"], k)

    def table(joints: Tensor) -> Tensor:
        return torch.cat([objects[..., :5], joints, objects[..., 5:]], 2)

    alone = table(centernet.decode_joints(maps, objects, k))
    maps |= {"hm_hp": i["hm_hp"].sigmoid(), "hp_offset": i["hp_offset"]}
    return {"full": table(centernet.decode_joints(maps, objects, k)), "regression_only": alone}


def _losses(run: Run) -> dict[str, Tensor]:
    i = run.inputs
    hm, wh = i["hm"].clone().requires_grad_(), i["wh"].clone().requires_grad_()
    present = i["mask"].bool()
    read = at_places(wh, i["ind"])
    truth = i["target_wh"]
    focal = peak_focal(probability(hm), i["gt_hm"])
    l1 = value_l1(read, truth, present)
    (focal + 0.1 * l1).backward()
    assert hm.grad is not None
    assert wh.grad is not None
    empty = 0.9 * i["gt_hm"]
    weight = i["mask_cat"] > 0.7
    weighted = value_l1(at_places(i["wh_cat"], i["ind"]), i["target_wh_cat"], weight)
    # Variants that the authors' file offers beside those that its networks are trained with.
    mask = present[..., None].expand_as(truth).float()
    count = mask.sum() + 1e-4
    smooth = F.smooth_l1_loss(read * mask, truth * mask, reduction="sum") / (present.sum() + 1e-4)
    relative = F.l1_loss(read / (truth + 1e-4) * mask, mask, reduction="sum") / count
    return {
        "focal": focal.detach(), "focal_no_positive": peak_focal(probability(i["hm"]), empty),
        "reg_l1": l1.detach(), "smooth_l1": smooth.detach(), "norm_l1": relative.detach(),
        "weighted_l1": weighted, "grad_hm": hm.grad, "grad_wh": wh.grad,
        "gradnorm_hm": hm.grad.norm(), "gradnorm_wh": wh.grad.norm(),
    }  # fmt: skip


def _radius(run: Run) -> dict[str, Tensor]:
    sizes = run.inputs["height_width"].tolist()
    radii = [centre_radius(h, w, run.params["min_overlap"]) for h, w in sizes]
    return {"radius": torch.tensor(radii, dtype=torch.float64)}


def _ops(fixture: Fixture) -> Counterpart:
    cases = {
        "ctdet_decode": _ctdet, "ctdet_plateau": _plateau, "multi_pose_decode": _pose,
        "losses": _losses, "radius": _radius, "draw": _draw, "affine": _affine,
        "post_process": _post_process, "pre_process_keep_res": _keep_res,
        "warp_fix_res": _fix_res,
    }  # fmt: skip
    return Counterpart(lambda run: cases[run.name](run))


def _draw(run: Run) -> dict[str, Tensor]:
    heat = np.zeros((24, 32), np.float32)
    for x, y, radius in run.params["points_xyr"]:
        draw_peak(heat, x, y, radius)
    # Two variants that the authors' file offers: σ = 2 whatever the size, about the rounded place;
    # and values written where a point's peak is the greatest so far.
    fixed = np.zeros((32, 32), np.float32)
    for x, y, _ in run.params["points_xyr"]:
        draw_peak(fixed, x, y + 1, 6, 6.5)
    dense, peaks = np.zeros((2, 24, 32), np.float32), np.zeros((24, 32), np.float32)
    for number, (x, y, radius) in enumerate(run.params["points_xyr"]):
        alone = np.zeros_like(peaks)
        draw_peak(alone, x, y, radius)
        near = np.zeros(peaks.shape, bool)
        near[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = True
        dense[:, near & (alone >= peaks)] = np.array([[3 + number], [5 - number]])
        peaks = np.maximum(peaks, alone)
    return {
        "umich": torch.from_numpy(heat),
        "msra_sigma2_32x32_at_plus_0.4_0.6": torch.from_numpy(fixed),
        "dense_reg": torch.from_numpy(dense),
    }


def _affine(run: Run) -> dict[str, Tensor]:
    out = {}
    points = np.array(run.params["points"], np.float64)
    for number, case in enumerate(run.params["cases"]):
        extent = np.ravel(case["scale"])[0]
        matrix = similarity(case["center"], extent, case["rot"], tuple(case["output_size"]))
        out[f"fwd{number}"], out[f"inv{number}"] = matrix, inverse(matrix)
        # Results are brought back as if there had been no turn.
        level = similarity(case["center"], extent, 0.0, tuple(case["output_size"]))
        out[f"pts{number}"] = moved(points, inverse(level))
    return {name: torch.from_numpy(value) for name, value in out.items()}


def _post_process(run: Run) -> dict[str, Tensor]:
    height, width = run.params["out_hw"]
    back = inverse(similarity(run.params["c"], run.params["s"], 0.0, (width, height)))
    found = run.inputs["dets"][0].numpy()
    boxes = moved(found[:, :4].reshape(-1, 2, 2), back).reshape(-1, 4).astype(np.float32)
    rows = np.concatenate([boxes, found[:, 4:5]], 1)
    kinds = np.floor(found[:, 5] / 20).astype(int)
    pose = run.inputs["pose"][0].numpy()
    places = moved(np.delete(pose[:, :39], 4, 1).reshape(len(pose), -1, 2), back)
    flat = places.reshape(len(pose), -1).astype(np.float32)
    out = {f"class{kind + 1}": rows[kinds == kind] for kind in range(run.params["num_classes"])}
    out["pose"] = np.insert(flat, 4, pose[:, 4], 1)
    return {name: torch.from_numpy(value) for name, value in out.items()}


def _keep_res(run: Run) -> dict[str, Tensor]:
    recorded = np.array(run.records[0].raw["values"]).reshape(run.records[0].raw["shape"])
    rows = []
    for height, width, scale, pad in recorded[:, :4]:
        inside = kept_resolution(int(height), int(width), scale, int(pad))
        centre = (int(width * scale) // 2, int(height * scale) // 2)
        rows.append([height, width, scale, pad, *inside, *centre])
    return {"table": torch.tensor(rows, dtype=torch.float64)}


def _fix_res(run: Run) -> dict[str, Tensor]:
    image = run.inputs["image_bgr"].numpy().astype(np.uint8)
    height, width = image.shape[:2]
    size = tuple(run.params["input"])
    matrix = similarity((width / 2, height / 2), max(height, width), 0.0, size)
    warped = torch.from_numpy(cut(image, matrix, size))
    mean, deviation = (torch.tensor(run.params[key]) for key in ("mean", "std"))
    return {
        "matrix": torch.from_numpy(matrix), "warped_uint8": warped,
        "network_input": ((warped / 255 - mean) / deviation).permute(2, 0, 1),
    }  # fmt: skip


COUNTERPARTS: dict[str, Build] = {
    "centernet_res18": _resnet,
    "centernet_res18_dcn": _resnet,
    "centernet_dla34_dcn": _dla,
    "centernet_dla34_dcn_pose": _dla,
    "centernet_hg104": _hourglass,
    "centernet_points_ops": _ops,
}
