"""Import torch and torchvision before the modules of a command that needs them."""

import atexit
import gc

import torch  # noqa: F401
import torchvision  # noqa: F401

# Torch's million objects are never freed; garbage collection over them would add half a second.
gc.freeze()
atexit.register(gc.unfreeze)
