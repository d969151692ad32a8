"""The views of an image that a network sees: itself, and moved by a pixel.

What a network says of an image changes when the image moves by a pixel, above all behind poolings
and convolutions without padding. The mean of what it says of several such views is more accurate
for no parameter, and for as many times the arithmetic ("multi-crop" or test-time augmentation:
Krizhevsky, Sutskever and Hinton, 2012). Training sees one view, which augmentation moves anyway.
"""

import torch

MOVES = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
"""How far each view is moved, in pixels down and to the right. Diagonal ones gain nothing more."""


def moved(images: torch.Tensor, views: int) -> torch.Tensor:
    """The views of images (N, C, H, W), one view of all images after another: (views * N, C, H, W).

    What comes in at an edge is the edge itself.
    """
    if views == 1:
        return images
    height, width = images.shape[2:]
    wider = torch.cat((images[:, :, :1], images, images[:, :, -1:]), 2)
    wider = torch.cat((wider[..., :1], wider, wider[..., -1:]), 3)
    return torch.cat(
        [
            wider[:, :, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
            for down, right in MOVES[:views]
        ]
    )


def mean_of(logits: torch.Tensor, views: int) -> torch.Tensor:
    """The mean over the views: (views * N, classes) to (N, classes)."""
    return logits if views == 1 else logits.view(views, -1, logits.shape[1]).mean(0)
