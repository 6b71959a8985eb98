"""Score variants of pictures: a method describes its masks, and the planner does the rest."""

from seewhy.masking.masks import Masks, Windows
from seewhy.masking.scoring import Block, Scored

__all__ = ["Block", "Masks", "Scored", "Windows"]
