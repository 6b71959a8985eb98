"""The commands, put together."""

# ruff: noqa: E402  torch comes first, for the garbage collector's sake
import atexit
import gc

import torch  # noqa: F401
import torchvision  # noqa: F401

# Its million objects stay for good; walking through them again costs a start half a second.
gc.freeze()
atexit.register(gc.unfreeze)

from cyclopts import App

from seewhy.cli import (
    channels,
    comparing,
    concepts,
    demo,
    enough,
    explaining,
    extremal_channels,
    listing,
)
from seewhy.version import __version__

app = App(
    name="seewhy",
    help="See why your vision model decides as it does, and whether you can trust the answer.",
    help_epilogue="With --debug, any command shows where in the code an error came from.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(explaining.explain)
app.command(comparing.compare)
app.command(listing.methods)
app.command(listing.models)
app.command(listing.layers)
app.command(enough.enough)
app.command(channels.channels)
app.command(extremal_channels.extremal_channels)
app.command(concepts.concepts)
app.command(demo.demo)
