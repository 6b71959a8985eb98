"""Exact incremental inference: only what a local edit reaches is computed again, layer by layer.

    edited = Incremental(net, picture)            # an unmodified network, in evaluation mode
    logits = edited(patches, top, left)           # of k pictures, each with one patch pasted in

Supun Nakandala, Arun Kumar, Yannis Papakonstantinou: Incremental and Approximate Inference for
Faster Occlusion-based Deep CNN Explanations, SIGMOD 2019, doi 10.1145/3299869.3319874. There
networks are rewritten; here they run as they are, on tensors that know which part of them differs.
"""

from seewhy.incremental.local import Local, NotLocal
from seewhy.incremental.running import Incremental

__all__ = ["Incremental", "Local", "NotLocal"]
