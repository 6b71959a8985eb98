"""Run a network on locally edited copies of one picture."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

import seewhy.incremental.functions  # noqa: F401  fills the table
from seewhy.incremental.base import Base
from seewhy.incremental.local import Local


class Incremental:
    """A network, on copies of `picture` with a patch pasted into each.

    - `net`: what is run, in evaluation mode, without gradients. - `picture`: as it takes it.

    Raises NotLocal where the network does something that cannot be followed.
    """

    def __init__(
        self, net: Callable[[Tensor], Any], picture: Float[Tensor, "1 channels height width"]
    ):
        self._net = net
        self._base = Base(picture.detach())

    def __call__(
        self,
        patches: Float[Tensor, "edits channels h w"],
        top: Int[Tensor, " edits"],
        left: Int[Tensor, " edits"],
    ) -> Any:
        """What the network puts out for the edited copies."""
        patches = patches.contiguous(memory_format=torch.channels_last)
        output = self._net(Local(self._base, patches, top, left))
        return output.whole() if isinstance(output, Local) else output
