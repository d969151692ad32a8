"""Statistics of batch normalisation for the weights and the images that are measured.

What training leaves in a normalisation are moving averages over augmented images and over weights
that have changed since. Computed anew from images as they are, for the weights as they are, they
fit what the network is then used for ("precise" batch normalisation: Wu and Johnson, "Rethinking
'Batch' in BatchNorm", 2021).
"""

import torch
from torch import nn

from search.augment import normalise
from search.data import Examples
from space.dropout import Dropout

IMAGES = 2_500
BATCH = 250


@torch.no_grad()
def recalibrate(network: nn.Module, examples: Examples) -> None:
    """Gives normalisations the means over batches of the means and variances of `IMAGES` examples.

    They are spread over all examples, and so over the classes, also where these are sorted. Leaves
    the network in evaluation mode.
    """
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    momenta = [each.momentum for each in norms]
    network.train()
    for each in network.modules():
        if isinstance(each, Dropout):
            each.eval()
    for number, chosen in enumerate(_batches(examples), start=1):
        for each in norms:
            each.momentum = 1 / number  # which makes the moving average a plain one
        network(normalise(examples.images[chosen]))
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
    network.eval()


def _batches(examples: Examples) -> list[torch.Tensor]:
    """Indices of images, dealt out one by one: every batch has some of every part, as many as the
    others or one less."""
    count = min(IMAGES, len(examples))
    spread = torch.arange(count, device=examples.indices.device) * len(examples) // count
    chosen, batches = examples.indices[spread], -(-count // BATCH)
    return [chosen[number::batches] for number in range(batches)]
