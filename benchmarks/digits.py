"""The digits both sides train on."""

from functools import cache

import torch

from search.data import DataSource, Digits, Examples


@cache
def load(source: DataSource, device: str) -> Digits:
    """The digits with their split, loaded once a process."""
    return source.load(device)


def some(source: DataSource, device: str, images: int) -> tuple[Examples, Examples]:
    """So many training images and a fifth as many validation images, always the same ones.

    The fifth is that of a trial: 10,000 validation images to 50,000 training images. Fewer where
    the dataset has fewer.
    """
    digits = load(source, device)
    return _some(digits.train, images), _some(digits.validation, max(1, images // 5))


def _some(examples: Examples, count: int) -> Examples:
    chosen = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))[:count]
    indices = examples.indices[chosen.to(examples.indices.device)]
    return Examples(examples.images, examples.labels, indices)
