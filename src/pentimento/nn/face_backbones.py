"""What RetinaFace looks through: a quarter MobileNet, a ResNet-50, and a lean one for CPUs.

Each maps pictures (N, 3, H, W) to features at strides 8, 16 and 32.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, slope: float | None = 0.1
) -> nn.Sequential:
    """Convolution, batch norm and, unless the slope is None, a leaky ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([] if slope is None else [nn.LeakyReLU(slope, inplace=True)]))


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """MobileNet's unit: every channel by itself, then all channels of a place."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.LeakyReLU(0.1, inplace=True),
        *conv(inputs, outputs, 1),
    )


class MobileNet(nn.Module):
    """Howard et al. 2017 at a quarter of its width: 64, 128, 256 channels at strides 8, 16, 32."""

    channels = (64, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            conv(3, 8, 3, 2), _separable(8, 16), _separable(16, 32, 2), _separable(32, 32),
            _separable(32, 64, 2), _separable(64, 64),
        )  # fmt: skip
        self.stage2 = nn.Sequential(
            _separable(64, 128, 2), *(_separable(128, 128) for _ in range(5))
        )
        self.stage3 = nn.Sequential(_separable(128, 256, 2), _separable(256, 256))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features at strides 8, 16 and 32."""
        stride8 = self.stage1(x)
        stride16 = self.stage2(stride8)
        return stride8, stride16, self.stage3(stride16)


class Lean(nn.Module):
    """A few full convolutions: 48, 80, 96 channels at strides 8, 16, 32."""

    channels = (48, 80, 96)

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            conv(3, 16, 3, 2), conv(16, 32, 3, 2), conv(32, 48, 3, 2), conv(48, 48),
            conv(48, 48),
        )  # fmt: skip
        self.stage2 = nn.Sequential(conv(48, 80, 3, 2), conv(80, 80), conv(80, 80))
        self.stage3 = nn.Sequential(conv(80, 96, 3, 2), conv(96, 96))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features at strides 8, 16 and 32."""
        stride8 = self.stage1(x)
        stride16 = self.stage2(stride8)
        return stride8, stride16, self.stage3(stride16)


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions, the stride in the middle one."""

    def __init__(self, inputs: int, middle: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, 4 * middle, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * middle)
        self.downsample = (
            None if (inputs, stride) == (4 * middle, 1) else conv(inputs, 4 * middle, 1, stride,
                                                                   None)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + F(x))."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """He et al. 2016: 512, 1024, 2048 channels at strides 8, 16, 32."""

    channels = (512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = self._layer(64, 64, 3, 1)
        self.layer2 = self._layer(256, 128, 4, 2)
        self.layer3 = self._layer(512, 256, 6, 2)
        self.layer4 = self._layer(1024, 512, 3, 2)

    @staticmethod
    def _layer(inputs: int, middle: int, blocks: int, stride: int) -> nn.Sequential:
        more = (Bottleneck(4 * middle, middle) for _ in range(blocks - 1))
        return nn.Sequential(Bottleneck(inputs, middle, stride), *more)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features at strides 8, 16 and 32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        stride8 = self.layer2(self.layer1(x))
        stride16 = self.layer3(stride8)
        return stride8, stride16, self.layer4(stride16)
