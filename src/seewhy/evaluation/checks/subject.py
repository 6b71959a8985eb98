"""`Subject`: the network under test, the pictures it is tested on, and its passes."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.engine.readable import why_unreadable
from seewhy.errors import SeewhyError
from seewhy.evaluation.checks.check import largest_error
from seewhy.models.memory_format import probes
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.support.batching import out_of_memory

NOISE = 0.02  # its share in the picture
SAME = 1e-2  # of the largest logit: more, and the copy in float64 is another network

Forward = Callable[[Tensor], Tensor]
Pixels = Float[Tensor, "batch channels height width"]


@dataclass(frozen=True)
class Subject:
    """A model and a picture.

    - `picture`: the prepared picture with 2 % of noise. Then no neighbours are equal, and rounding
      cannot decide between equal maxima of a pool, which would look like a wrong gradient.
    - `other`: a second picture, noise of low contrast. `target`: the most probable class.
    """

    model: Model
    picture: Float[Tensor, "1 channels height width"]
    other: Float[Tensor, "1 channels height width"]
    target: int

    @staticmethod
    def of(model: Model, pixels: Float[Tensor, "1 channels height width"]) -> "Subject":
        """Prepare the pictures and run the model once; its own error is raised if it fails."""
        noise = probes(pixels.shape[1:], pixels).to(model.device, model.dtype)
        picture = torch.lerp(pixels.to(noise), noise[:1], NOISE)
        with torch.no_grad():
            target = int(model(picture)[0].argmax())
        return Subject(model, picture, noise[1:], target)

    @property
    def pair(self) -> Float[Tensor, "2 channels height width"]:
        """Both pictures as a batch."""
        return torch.cat([self.picture, self.other])

    @cached_property
    def no_gradient(self) -> str | None:
        """Why no gradient of the score reaches the pixels; None if one does."""
        try:
            if self._differentiated(self.model.forward, self.picture)[1] is not None:
                return None
        except SeewhyError as reason:
            return str(reason)
        except Exception as error:
            if out_of_memory(error):
                raise
        found = why_unreadable(self.model, self.picture)
        return found or "no gradient of the score reaches the pixels"

    @cached_property
    def alone(self) -> tuple[Tensor, Tensor | None]:
        """Logits and pixel gradient of the picture, as the tool computes them."""
        return self.passes(self.model.forward, self.picture)

    @cached_property
    def double(self) -> "Subject | None":
        """The same with a copy of the network in float64; None where there is none that agrees."""
        model = self.model
        if model.dtype == torch.float64:
            return self
        try:
            twin: Model = copy.copy(model)
            twin.net = copy.deepcopy(model.net).double()
            double = Subject(twin, self.picture.double(), self.other.double(), self.target)
            logits, gradient = double.alone
        except Exception:  # what cannot be copied, converted or held in memory is checked as it is
            return None
        agrees = largest_error(logits, self.alone[0]) <= SAME
        exact = gradient is not None and gradient.dtype == torch.float64
        return double if agrees and exact else None

    def logits(self, forward: Forward, pixels: Pixels) -> Float[Tensor, "batch classes"]:
        """The logits of a forward pass without a graph."""
        with borrowed(self.model.net), torch.no_grad():
            return forward(pixels)

    def passes(self, forward: Forward, pixels: Pixels) -> tuple[Tensor, Tensor | None]:
        """Logits of all pictures, and the gradient of the first one's score at all pixels.

        The gradient is None if the network has none.
        """
        if self.no_gradient:
            return self.logits(forward, pixels), None
        return self._differentiated(forward, pixels)

    def _differentiated(self, forward: Forward, pixels: Pixels) -> tuple[Tensor, Tensor | None]:
        with borrowed(self.model.net):
            pixels = pixels.detach().clone().requires_grad_()
            logits = forward(pixels)
            (gradient,) = torch.autograd.grad(logits[0, self.target], pixels, allow_unused=True)
            return logits.detach(), gradient
