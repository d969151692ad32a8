"""From stored pixels to network input: augmentation and normalisation, batched, on the device."""

import math

import torch
from torch.nn import functional as F

from search.data import MEAN, STD
from search.kernels import warp
from space import Augmentation


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 or float pixels 0..255 (B, H, W) to float32 network input (B, 1, H, W)."""
    return pixels.unsqueeze(1).float().sub_(255 * MEAN).div_(255 * STD)


def augment(pixels: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """uint8 pixels (B, H, W), each moved by its map (B, 2, 3), as float32 input (B, 1, H, W).

    Bilinear sampling; what comes from outside the image is black.
    """
    if pixels.device.type == "cpu":
        moved = torch.empty(pixels.shape)
        warp(pixels.numpy(), maps.numpy(), moved.numpy(), 255 * MEAN, 255 * STD)
        return moved.unsqueeze(1)
    grid = F.affine_grid(maps, [len(pixels), 1, *pixels.shape[1:]], align_corners=False)
    moved = F.grid_sample(pixels.unsqueeze(1).float(), grid, align_corners=False)
    return normalise(moved.squeeze(1))


def random_maps(
    strengths: Augmentation, count: int, size: int, generator: torch.Generator
) -> torch.Tensor:
    """Random affine maps (count, 2, 3): rotation, shear, scale, shift, in this order.

    From output to input coordinates, which run from -1 to 1 over `size` pixels.
    """
    device = generator.device
    draws = torch.rand(5, count, generator=generator, device=device).mul_(2).sub_(1)
    angle = draws[0] * math.radians(strengths.rotation_degrees)
    shear = torch.tan(draws[1] * math.radians(strengths.shear_degrees))
    zoom = 1 + draws[2] * strengths.scale
    shift = draws[3:] * (2 * strengths.shift_pixels / size)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = torch.stack([cos, cos * shear - sin, shift[0], sin, sin * shear + cos, shift[1]])
    return rows.T.reshape(count, 2, 3)
