"""Masks over pictures, baselines, and the scores of masked pictures."""

from seewhy.perturbation.masks import Masks, Windows
from seewhy.perturbation.scoring import MaskBatch, MaskedScores

__all__ = ["MaskBatch", "MaskedScores", "Masks", "Windows"]
