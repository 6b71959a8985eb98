"""Smooth masks of an exact area: a soft threshold of a smooth field.

    F(u) = sum over lattice points v of g(|u - v|) theta(v),   g a Gaussian; its weights sum to one
    M(u) = sigmoid((F(u) - tau) / softness)

with tau such that the mean of M is the area. The area needs no penalty term: an optimiser can only
move the mask, not enlarge it. The Gaussian is as wide as the kernel of `perturbation/smooth.py`, so
that the masks have no finer detail than those. As the softness goes to 0, the mask becomes the
level set of F, which is the final result.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.perturbation.smooth import Lattice

HALVINGS = 32  # of the interval that contains tau
FAR = 10.0  # distance from the threshold, in units of softness, at which a mask is 0 or 1


class ExactMasks:
    """Makes masks of one size and of given areas from lattices."""

    def __init__(self, size: tuple[int, int]):
        self.lattice = Lattice(size)
        self._rows, self._columns = (
            _gaussian(side, points, self.lattice)
            for side, points in zip(size, self.lattice.shape, strict=True)
        )

    def field(
        self, lattices: Float[Tensor, "masks rows columns"]
    ) -> Float[Tensor, "masks height width"]:
        """Return F, which lies between the smallest and the largest value of the lattice."""
        self._rows, self._columns = self._rows.to(lattices), self._columns.to(lattices)
        return self._rows @ lattices @ self._columns.T

    def of(
        self,
        lattices: Float[Tensor, "masks rows columns"],
        areas: Float[Tensor, " masks"],
        softness: Float[Tensor, " masks"],
    ) -> Float[Tensor, "masks height width"]:
        """Return the masks; the gradient includes the threshold's dependence on the lattice."""
        field = self.field(lattices)
        soft = softness[:, None, None].to(field)
        with torch.no_grad():
            threshold = _threshold(field, areas.to(field), soft)
            mask = ((field - threshold) / soft).sigmoid()
            edge = mask * (1 - mask)
            edge = edge / edge.sum((1, 2), keepdim=True).clamp_min(1e-12)
        # d tau = sum(edge dF): the threshold follows the mean of the field over the mask's edge.
        rise = (edge * field).sum((1, 2), keepdim=True)
        return ((field - threshold - (rise - rise.detach())) / soft).sigmoid()


def _gaussian(side: int, points: int, lattice: Lattice) -> Float[Tensor, "side points"]:
    """Return the weight of each lattice point at each pixel, along one axis."""
    centres = (torch.arange(points, dtype=torch.float64) + 0.5) * lattice.step
    distance = torch.arange(side, dtype=torch.float64)[:, None] + 0.5 - centres
    return (-0.5 * (distance / lattice.sigma) ** 2).softmax(1)


def _threshold(
    field: Float[Tensor, "masks height width"],
    areas: Float[Tensor, " masks"],
    softness: Float[Tensor, "masks 1 1"],
) -> Float[Tensor, "masks 1 1"]:
    """Return tau, found by bisection: the area falls as tau rises."""
    low = field.amin((1, 2), keepdim=True) - FAR * softness
    high = field.amax((1, 2), keepdim=True) + FAR * softness
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        area = ((field - middle) / softness).sigmoid().mean((1, 2), keepdim=True)
        too_large = area > areas[:, None, None]
        low, high = torch.where(too_large, middle, low), torch.where(too_large, high, middle)
    return (low + high) / 2
