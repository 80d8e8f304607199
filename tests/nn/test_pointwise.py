"""Shortcuts of single pixels: strided convolutions that do not harm memory."""

import os
import subprocess
import sys

import torch
import torch.nn.functional as F

from pentimento.nn.pointwise import PointwiseConv

_STEP = """
import torch
from pentimento.nn.large_hourglass import projection

torch.set_num_threads(2)
for channels in (8, 12):
    skip = projection(channels, 8, 2).to(memory_format=torch.channels_last)
    x = torch.randn(3, channels, 16, 16).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    for _ in range(3):
        skip(x).square().sum().backward()
    assert bool(x.grad[..., ::2, ::2].any()) and not bool(x.grad[..., 1::2].any())
"""


def test_it_computes_what_a_strided_convolution_does() -> None:
    torch.manual_seed(0)
    conv = PointwiseConv(5, 4, 2, bias=True)
    assert set(conv.state_dict()) == {"weight", "bias"}
    for side in (6, 7):
        x = torch.randn(2, 5, side, side)
        assert torch.allclose(conv(x), F.conv2d(x, conv.weight, conv.bias, 2), atol=1e-6)


def test_two_threads_step_through_narrow_shortcuts_at_odd_batches() -> None:
    """With a strided convolution torch 2.13 ends this process by a signal."""
    done = subprocess.run(
        [sys.executable, "-c", _STEP],
        env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
