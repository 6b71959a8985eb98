"""Colours of natural pictures: the transform between independent components and RGB."""

import torch
from jaxtyping import Float
from torch import Tensor

# The square root of the covariance of colours of ImageNet, by singular value decomposition: Olah,
# Mordvintsev, Schubert, Feature Visualization, Distill 2017 (doi 10.23915/distill.00007).
_COVARIANCE_ROOT = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
CORRELATION = _COVARIANCE_ROOT / _COVARIANCE_ROOT.norm(dim=0).max()


def correlated(
    components: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """Turn independent components into RGB values, unbounded; other channels stay as they are."""
    if components.shape[1] != 3:
        return components
    return _mixed(components, CORRELATION)


def decorrelated(
    colours: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """Turn unbounded RGB values into independent components: the inverse of `correlated`."""
    if colours.shape[1] != 3:
        return colours
    return _mixed(colours, torch.linalg.inv(CORRELATION.double()))


def _mixed(channels: Tensor, matrix: Tensor) -> Tensor:
    """Return sums of the channels; as a product of matrices, faster than a contraction of axes."""
    return (matrix.to(channels) @ channels.flatten(2)).view_as(channels)
