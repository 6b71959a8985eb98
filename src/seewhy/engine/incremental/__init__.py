"""Exact inference on pictures that were edited in a small region.

Occlusion hides hundreds of windows of a picture in turn. In each layer, only the region that the
window affects has to be computed again:

    incremental = Incremental(net)
    logits = incremental(picture, patches, top, left)

The network is unmodified; it runs on a tensor that looks like the batch of edited pictures, but
stores the activations of the original picture and, for each copy, a tile where they differ.
"""

from seewhy.engine.incremental.local import NotLocal
from seewhy.engine.incremental.running import Incremental

__all__ = ["Incremental", "NotLocal"]
