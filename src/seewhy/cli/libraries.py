"""torch and torchvision, loaded before anything else of a command that needs them."""

import atexit
import gc

import torch  # noqa: F401
import torchvision  # noqa: F401

# Its million objects stay for good; walking through them again costs a start half a second.
gc.freeze()
atexit.register(gc.unfreeze)
