"""Networks as training leaves them, without training, for the tests of model files."""

import torch
from torch import nn

from results.models.pixels import Normalisation, PixelNetwork
from space import Architecture, Conv, Head, Pool
from space.network import ShiftNorm, build_network

NORMALISATION = Normalisation(0.1307, 0.3081)

EVERY_OP = {
    "separable, residual, strided, relu before norm, gap_conv": Architecture(
        layers=(
            Conv(kind="conv", width=6, padding=1, then=("relu", "norm")),
            Conv(kind="separable", width=6, padding=1, then=("relu", "norm"), residual=True),
            Conv(kind="separable", width=9, stride=2, bias=True, then=("relu", "norm", "dropout")),
            Pool(kind="max_pool", size=2, stride=2),
            Conv(kind="conv", width=5, kernel_size=1),
            Conv(kind="conv", width=7, kernel_size=3, padding=1, then=("norm", "relu")),
        ),
        head=Head(kind="gap_conv", bias=True),
    ),
    "repeats with residual, odd pools, norm before relu, conv_gap": Architecture(
        layers=(
            Conv(kind="conv", width=8, kernel_size=4, then=("norm", "relu")),
            Pool(kind="average_pool", size=2, stride=2),
            Conv(kind="conv", width=8, padding=1, then=("norm", "relu"), residual=True, repeats=3),
            Pool(kind="max_pool", size=3, stride=2),
            Conv(kind="separable", width=8, padding=1, then=("relu", "norm"), repeats=2),
        ),
        head=Head(kind="conv_gap"),
    ),
    "norms without scale": Architecture(
        layers=(
            Conv(kind="conv", width=6, padding=1, then=("relu", "norm"), norm_scale=False),
            Conv(
                kind="separable",
                width=6,
                padding=1,
                then=("norm", "relu"),
                norm_scale=False,
                residual=True,
                repeats=2,
            ),
            Conv(kind="conv", width=5, stride=2, then=("norm", "relu"), norm_scale=False),
        ),
        head=Head(kind="gap_conv"),
    ),
    "several views, no padding": Architecture(
        layers=(
            Conv(kind="conv", width=6, padding=1, then=("norm", "relu"), norm_scale=False),
            Pool(kind="max_pool", size=2, stride=2),
            Conv(kind="separable", width=8, then=("norm", "relu"), norm_scale=False),
        ),
        head=Head(kind="gap_conv"),
        views=5,
    ),
    "repeats without residual, bare norm, full_conv": Architecture(
        layers=(
            Conv(kind="conv", width=4, kernel_size=5, stride=2, then=("norm",)),
            Conv(kind="conv", width=4, padding=1, then=("relu", "norm"), repeats=2),
            Pool(kind="max_pool", size=3, stride=3),
            Conv(kind="conv", width=6, kernel_size=3, padding=2, stride=2, then=("relu",)),
        ),
        head=Head(kind="full_conv", bias=True),
    ),
}
"""Together they have every operation, order and head there is, and pools that leave a rest."""


def trained_like(
    architecture: Architecture, seed: int, pixels: torch.Tensor | None = None
) -> PixelNetwork:
    """A network whose BatchNorms have statistics and weights of their own, some negative or 0.

    The statistics are random, or what they are for `pixels` (N, 1, H, W) from 0 to 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(architecture, dropout=0.1)
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.3)
                norm.running_var.uniform_(0.05, 2)
                nn.init.normal_(norm.bias, 0, 0.4)
                if not isinstance(norm, ShiftNorm):
                    nn.init.normal_(norm.weight, 0.6, 0.7)
                    norm.weight.data[0] = 0
                norm.momentum = 1
    model = PixelNetwork(network, NORMALISATION)
    if pixels is not None:
        with torch.no_grad():
            model.train()(pixels)
    return model.eval()
