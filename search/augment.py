"""From stored pixels to network input: augmentation and normalisation, batched, on the device."""

import math

import torch
from torch.nn import functional as F

from search.data import MEAN, STD
from search.kernels import warp
from space import Augmentation

POINTS = 4
"""A row and a column of the points that move by themselves in an elastic map."""


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 or float pixels 0..255 (B, H, W) to float32 network input (B, 1, H, W)."""
    return pixels.unsqueeze(1).float().sub_(255 * MEAN).div_(255 * STD)


def augment(pixels: torch.Tensor, maps: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """uint8 pixels (B, H, W), each moved by its map (B, 2, M), as float32 input (B, 1, H, W).

    A map times the basis (M, H * W) is where each pixel is taken from. Bilinear sampling; what
    comes from outside the image is black.
    """
    if pixels.device.type == "cpu":
        moved = torch.empty(pixels.shape)
        arrays = (pixels.numpy(), maps.numpy(), basis.numpy(), moved.numpy())
        warp(*arrays, 255 * MEAN, 255 * STD)
        return moved.unsqueeze(1)
    return augment_by_torch(pixels, maps, basis)


def augment_by_torch(pixels: torch.Tensor, maps: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """The same on any device."""
    grid = (maps @ basis).view(len(pixels), 2, *pixels.shape[1:]).permute(0, 2, 3, 1)
    moved = F.grid_sample(pixels.unsqueeze(1).float(), grid, align_corners=False)
    return normalise(moved.squeeze(1))


def random_maps(
    strengths: Augmentation, count: int, size: int, generator: torch.Generator
) -> torch.Tensor:
    """Random maps (count, 2, M): rotation, shear, scale, shift in this order; what is elastic.

    From output to input coordinates, which run from -1 to 1 over `size` pixels. The M numbers of
    each coordinate are factors of the functions of `basis`.
    """
    device = generator.device
    draws = torch.rand(5, count, generator=generator, device=device).mul_(2).sub_(1)
    angle = draws[0] * math.radians(strengths.rotation_degrees)
    shear = torch.tan(draws[1] * math.radians(strengths.shear_degrees))
    zoom = 1 + draws[2] * strengths.scale
    shift = draws[3:] * (2 * strengths.shift_pixels / size)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = torch.stack([cos, cos * shear - sin, shift[0], sin, sin * shear + cos, shift[1]])
    affine = rows.T.reshape(count, 2, 3)
    if not strengths.elastic_pixels:
        return affine
    points = torch.rand(count, 2, POINTS**2, generator=generator, device=device).mul_(2).sub_(1)
    return torch.cat((affine, points * (2 * strengths.elastic_pixels / size)), dim=2)


def basis(strengths: Augmentation, size: int) -> torch.Tensor:
    """What a map adds up for a coordinate of each of `size` x `size` pixels: (M, size * size).

    Column and row from -1 to 1, and 1; then, if anything is elastic, a function for each point that
    is 1 there and 0 at the others.
    """
    centres = (2 * torch.arange(size) + 1) / size - 1
    row, column = torch.meshgrid(centres, centres, indexing="ij")
    affine = torch.stack((column, row, torch.ones(size, size))).flatten(1)
    if not strengths.elastic_pixels:
        return affine
    alone = torch.eye(POINTS**2).view(-1, 1, POINTS, POINTS)
    elastic = F.interpolate(alone, size=(size, size), mode="bicubic", align_corners=True)
    return torch.cat((affine, elastic.flatten(1)))
