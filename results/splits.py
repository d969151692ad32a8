"""How many images each dataset has for what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """`training` images, `validation` of them held out by a search, and `test` images."""

    training: int
    validation: int
    test: int


SPLITS = {"mnist": Split(60_000, 10_000, 10_000), "mnist-sample": Split(4_000, 1_000, 1_000)}
