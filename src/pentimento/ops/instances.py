"""What an instance map adds to a label map: borders between things, and means over each thing."""

import torch
import torch.nn.functional as F
from torch import Tensor


def instance_edges(instances: Tensor) -> Tensor:
    """Mark both sides of every border between instances (Wang et al. 2018, section 3.3).

    Args:
        instances: (B, 1, H, W) numbers of instances.

    Returns:
        (B, 1, H, W) float32, 1 where one of the four neighbours has another number, else 0.
    """
    across = instances[..., 1:] != instances[..., :-1]
    down = instances[..., 1:, :] != instances[..., :-1, :]
    edges = F.pad(across, (1, 0)) | F.pad(across, (0, 1))
    return (edges | F.pad(down, (0, 0, 1, 0)) | F.pad(down, (0, 0, 0, 1))).float()


def pool_instances(features: Tensor, instances: Tensor) -> Tensor:
    """Give every pixel the mean of its instance's features (Wang et al. 2018, section 3.4).

    Args:
        features: (B, C, H, W).
        instances: (B, 1, H, W) integers; equal numbers of different pictures are different things.

    Returns:
        (B, C, H, W).
    """
    batch, channels = features.shape[:2]
    pictures = torch.arange(batch, device=instances.device).view(-1, 1, 1, 1)
    keys = torch.stack([pictures.expand_as(instances), instances.long()]).flatten(1)
    _, thing, counts = torch.unique(keys, dim=1, return_inverse=True, return_counts=True)
    pixels = features.movedim(1, -1).reshape(-1, channels)
    sums = pixels.new_zeros(len(counts), channels).index_add(0, thing, pixels)
    means: Tensor = (sums / counts[:, None])[thing]
    pooled: Tensor = means.view(batch, *features.shape[2:], channels).movedim(-1, 1)
    return pooled
