"""What can be built: descriptions, their exact cost, their networks, and how a trial picks one.

`build_network` lives in `space.network` and is not imported here: everything else works without
loading torch.
"""

from space.architecture import Architecture, Conv, Head, Layer, Pool
from space.baselines import BASELINES, baseline, baselines_in
from space.footprint import Footprint, LayerCost, footprint, layer_costs
from space.published import PUBLISHED, Published
from space.recipe import Augmentation, Recipe
from space.search_space import Configuration, SearchSpace, Trial, configuration
from space.value import Value

__all__ = [
    "BASELINES",
    "PUBLISHED",
    "Architecture",
    "Augmentation",
    "Configuration",
    "Conv",
    "Footprint",
    "Head",
    "Layer",
    "LayerCost",
    "Pool",
    "Published",
    "Recipe",
    "SearchSpace",
    "Trial",
    "Value",
    "baseline",
    "baselines_in",
    "configuration",
    "footprint",
    "layer_costs",
]
