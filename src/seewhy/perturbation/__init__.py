"""Score variants of pictures: a method describes its masks, and the planner does the rest."""

from seewhy.perturbation.masks import Masks, Windows
from seewhy.perturbation.scoring import MaskBatch, MaskedScores

__all__ = ["MaskBatch", "MaskedScores", "Masks", "Windows"]
