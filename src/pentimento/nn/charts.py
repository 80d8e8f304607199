"""What draws charts inside of boxes, as DensePose has it (Güler et al. 2018; detectron2).

The official layers have no norms; networks that learn from nothing have group norms here too.

Alphabet: N pictures, H, W feature size, R boxes, s side of their features, C coarse channels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.nn.rcnn import Norm
from pentimento.ops.charts import Charts


def _conv(inputs: int, outputs: int, norm: Norm) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, 3, 1, 1)
    if norm == "frozen":
        return conv
    return nn.Sequential(conv, nn.GroupNorm(outputs // 8, outputs))


class ChartPredictor(nn.Module):
    """Four transposed convolutions and a bilinear doubling: four times the side (R, C, s, s)."""

    def __init__(self, inputs: int, coarse: int, parts: int):
        super().__init__()
        self.ann_index_lowres = nn.ConvTranspose2d(inputs, coarse, 4, 2, 1)
        self.index_uv_lowres = nn.ConvTranspose2d(inputs, parts + 1, 4, 2, 1)
        self.u_lowres = nn.ConvTranspose2d(inputs, parts + 1, 4, 2, 1)
        self.v_lowres = nn.ConvTranspose2d(inputs, parts + 1, 4, 2, 1)

    def forward(self, x: Tensor) -> Charts:
        """Return charts of side 4s."""
        heads = (self.ann_index_lowres, self.index_uv_lowres, self.u_lowres, self.v_lowres)
        return Charts(
            *(F.interpolate(head(x), scale_factor=2.0, mode="bilinear") for head in heads)
        )


class ChartHead(nn.Module):
    """Convolutions in a row."""

    def __init__(self, inputs: int, width: int, layers: int, norm: Norm = "frozen"):
        super().__init__()
        for i in range(layers):
            conv = _conv(width if i else inputs, width, norm)
            self.add_module(f"body_conv_fcn{i + 1}", conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (R, inputs, s, s) to (R, width, s, s)."""
        for layer in self.children():
            x = F.relu(layer(x))
        return x


class Decoder(nn.Module):
    """Panoptic FPN's decoder (Kirillov et al. 2019): all levels, brought to stride 4 and added."""

    def __init__(self, width: int, norm: Norm = "frozen"):
        super().__init__()
        for level, convolutions in ((2, 1), (3, 1), (4, 2), (5, 3)):
            # The official numbers count every doubling, which has no weights.
            layers = {str(2 * i): _conv(width, width, norm) for i in range(convolutions)}
            self.add_module(f"p{level}", nn.ModuleDict(layers))
        self.predictor = nn.Conv2d(width, width, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Join features (N, width, H, W) at strides 4, 8, 16 and 32."""
        joined = torch.zeros_like(levels[0])
        for level, x in enumerate(levels, 2):
            for conv in self.get_submodule(f"p{level}").children():
                x = F.relu(conv(x))
                if level > 2:
                    x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            joined = joined + x
        out: Tensor = self.predictor(joined)
        return out
