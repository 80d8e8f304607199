"""Convolutions of single pixels, for shortcuts that halve the sides."""

from torch import Tensor, nn


class PointwiseConv(nn.Conv2d):
    """What `nn.Conv2d(inputs, outputs, 1, stride)` computes, under its names and without its crash.

    torch 2.13 on the CPU writes beyond its memory in the backward pass of such a convolution with
    stride 2, 8 or 12 input channels, an odd batch, channels last and two threads or more. Taking
    every second pixel first avoids that way.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, bias: bool = False):
        super().__init__(inputs, outputs, 1, bias=bias)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉)."""
        return super().forward(x[..., :: self.step, :: self.step])
