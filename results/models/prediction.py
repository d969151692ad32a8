"""What a model says of pictures, with probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from results.models.loading import Model


@dataclass(frozen=True)
class Prediction:
    """The probability of each digit: the softmax of the logits. They add up to 1."""

    probabilities: tuple[float, ...]

    @property
    def likeliest(self) -> list[tuple[int, float]]:
        """Digits with their probabilities, the likeliest first."""
        return sorted(enumerate(self.probabilities), key=lambda each: -each[1])

    @property
    def digit(self) -> int:
        return self.likeliest[0][0]

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {"digit": self.digit, "probabilities": list(self.probabilities)}


@torch.inference_mode()
def predict(model: Model, pictures: Sequence[torch.Tensor]) -> list[Prediction]:
    """One prediction for each picture, uint8 (28, 28)."""
    logits = model(torch.stack(list(pictures)).unsqueeze(1).float() / 255)
    return [Prediction(tuple(row)) for row in logits.double().softmax(1).tolist()]
