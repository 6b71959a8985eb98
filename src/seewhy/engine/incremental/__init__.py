"""Exact inference on pictures that were edited in a small region.

Occlusion covers a window of a picture hundreds of times. What the window does not reach, layer by
layer, is what it was; only the rest has to be computed:

    incremental = Incremental(net)
    logits = incremental(picture, patches, top, left)

An unmodified network runs on a tensor that looks like the batch of edited pictures, and holds the
activations of the picture with a tile for each copy, where that differs.
"""

from seewhy.engine.incremental.local import NotLocal
from seewhy.engine.incremental.running import Incremental

__all__ = ["Incremental", "NotLocal"]
