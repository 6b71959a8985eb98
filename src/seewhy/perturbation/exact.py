"""Smooth masks whose area is exact: where a smooth field is highest.

    F(u) = sum over lattice points v of g(|u - v|) theta(v),   g a Gaussian; its weights sum to one
    M(u) = sigmoid((F(u) - tau) / softness)

with tau such that the mean of M is the area. There is no penalty to be weighed against anything: an
optimiser can only move the area from place to place. The Gaussian is as wide as the kernel of
`perturbation/smooth.py`, so that masks have no finer detail than those. As the softness falls, the
mask becomes the level set of F, which is what is looked at in the end.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from seewhy.perturbation.smooth import Lattice

HALVINGS = 32  # of the interval in which tau lies
FAR = 10.0  # softnesses from the threshold at which a mask is 0 or 1


class ExactMasks:
    """Masks of one size from lattices, of given areas."""

    def __init__(self, size: tuple[int, int]):
        self.lattice = Lattice(size)
        self._rows, self._columns = (
            _gaussian(side, points, self.lattice)
            for side, points in zip(size, self.lattice.shape, strict=True)
        )

    def field(
        self, lattices: Float[Tensor, "masks rows columns"]
    ) -> Float[Tensor, "masks height width"]:
        """F, which is between the smallest and the largest value of the lattice."""
        self._rows, self._columns = self._rows.to(lattices), self._columns.to(lattices)
        return self._rows @ lattices @ self._columns.T

    def of(
        self,
        lattices: Float[Tensor, "masks rows columns"],
        areas: Float[Tensor, " masks"],
        softness: Float[Tensor, " masks"],
    ) -> Float[Tensor, "masks height width"]:
        """The masks; differentiable, the threshold's dependence on the lattice included."""
        field = self.field(lattices)
        soft = softness[:, None, None].to(field)
        with torch.no_grad():
            threshold = _threshold(field, areas.to(field), soft)
            mask = ((field - threshold) / soft).sigmoid()
            edge = mask * (1 - mask)
            edge = edge / edge.sum((1, 2), keepdim=True).clamp_min(1e-12)
        # Where the field rises along the edge, the threshold rises with it.
        rise = (edge * field).sum((1, 2), keepdim=True)
        return ((field - threshold - (rise - rise.detach())) / soft).sigmoid()


def _gaussian(side: int, points: int, lattice: Lattice) -> Float[Tensor, "side points"]:
    """The weight of each lattice point at each pixel, along one axis."""
    middle = (torch.arange(points, dtype=torch.float64) + 0.5) * lattice.step
    apart = torch.arange(side, dtype=torch.float64)[:, None] + 0.5 - middle
    return (-0.5 * (apart / lattice.sigma) ** 2).softmax(1)


def _threshold(
    field: Float[Tensor, "masks height width"],
    areas: Float[Tensor, " masks"],
    softness: Float[Tensor, "masks 1 1"],
) -> Float[Tensor, "masks 1 1"]:
    """tau, by halving: the higher it is, the smaller the mask."""
    low = field.amin((1, 2), keepdim=True) - FAR * softness
    high = field.amax((1, 2), keepdim=True) + FAR * softness
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = ((field - middle) / softness).sigmoid().mean((1, 2), keepdim=True)
        large = above > areas[:, None, None]
        low, high = torch.where(large, middle, low), torch.where(large, high, middle)
    return (low + high) / 2
