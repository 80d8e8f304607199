"""Landmark networks: face-HRNet, stacked hourglass, FAN and its depth network; their arithmetic."""

import torch

from parity.counterparts import Build, Counterpart, keyed
from parity.fixture import Fixture
from pentimento.compat.landmarks import DEPTH, FAN, HRNET, PRINCETON
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


COUNTERPARTS: dict[str, Build] = {
    "hrnet_face_w18_wflw": _hrnet,
    "hrnet_face_w18_300w_keys": _hrnet,
    "stacked_hourglass_2": _hourglass,
    "fan_2": _fan,
    "fan_resnet_depth": _depth,
}
