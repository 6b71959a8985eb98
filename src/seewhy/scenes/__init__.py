"""Procedurally rendered pictures with exact ground truth: rooms with one object of ten classes.

>>> from seewhy import scenes
>>> factors = scenes.sample(8, seed=0)
>>> scene = scenes.render(factors, size=64)
>>> scene.pixels.shape, scene.masks["object"].shape
(torch.Size([8, 3, 64, 64]), torch.Size([8, 64, 64]))
>>> no_lamp = scenes.render(scenes.without(factors, "lamp"))  # everything else is unchanged
"""

from seewhy.scenes.colours import COLOURS
from seewhy.scenes.counterfactuals import REMOVABLE, with_factor, without
from seewhy.scenes.examples import examples
from seewhy.scenes.factors import CLASSES, NAMES, RANGES, TEXTURES, Factors, concatenate
from seewhy.scenes.rendering import THINGS, ConceptLabels, Labels, Scene, render
from seewhy.scenes.sampling import PRESENCE, Shortcut, sample
from seewhy.scenes.shapes import PARTS

__all__ = [
    "CLASSES",
    "COLOURS",
    "NAMES",
    "PARTS",
    "PRESENCE",
    "RANGES",
    "REMOVABLE",
    "TEXTURES",
    "THINGS",
    "ConceptLabels",
    "Factors",
    "Labels",
    "Scene",
    "Shortcut",
    "concatenate",
    "examples",
    "render",
    "sample",
    "with_factor",
    "without",
]
