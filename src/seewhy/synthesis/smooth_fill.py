"""Fill hidden pixels smoothly: the surface through the visible ones that bends least.

    min over hidden pixels of  sum (Laplacian u)^2,   u = picture where it is visible

Solved by conjugate gradients for all pictures at once, from a blur of the visible pixels. The same
minimum as biharmonic inpainting (Damelin, Hoang 2018, doi 10.1155/2018/3950312), but with mirrored
borders. Over wide holes it stops early, which leaves them smooth, but not as flat as they could be.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

ITERATIONS = 25  # enough where holes are a few pixels wide
WIDTHS = (0.6, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # of the blurs, until each pixel has a neighbour
FEW = 0.05  # visible pixels, as a share of the blur's weight, from which a value is taken


def smooth_fill(
    pictures: Float[Tensor, "rows c h w"],
    visible: Float[Tensor, "rows 1 h w"],
    iterations: int = ITERATIONS,
) -> Float[Tensor, "rows c h w"]:
    """Return the pictures with their hidden pixels, where `visible` is 0, filled in."""
    hidden = 1 - visible
    u = visible * pictures + hidden * _blurred(pictures, visible)
    residual = -hidden * _bending(u)
    direction = residual
    size = _dot(residual, residual)
    for _ in range(iterations):
        bent = hidden * _bending(direction)
        step = size / _dot(direction, bent).clamp_min(1e-20)
        u = u + step * direction
        residual = residual - step * bent
        size, before = _dot(residual, residual), size
        direction = residual + size / before.clamp_min(1e-20) * direction
    return u


def _bending(u: Tensor) -> Tensor:
    """Return the gradient of half the sum of squared Laplacians."""
    return _laplacian(_laplacian(u))


def _laplacian(u: Tensor) -> Tensor:
    """Return the Laplacian with mirrored borders, which is its own transpose."""
    padded = F.pad(u, (1, 1, 1, 1), mode="replicate")
    return (
        padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2]
        + padded[..., 1:-1, 2:] - 4 * u
    )  # fmt: skip


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)


def _blurred(pictures: Tensor, visible: Tensor) -> Tensor:
    """Return the mean of the visible pixels in the smallest neighbourhood that has some."""
    found = torch.zeros_like(pictures) + _mean(pictures, visible)
    open_ = torch.ones_like(visible)
    for width in WIDTHS:
        radius = min(int(3 * width + 0.5), *(side - 1 for side in pictures.shape[2:]))
        at = torch.arange(-radius, radius + 1, device=pictures.device)
        kernel = torch.exp(-(at.float() ** 2) / (2 * width**2))
        kernel = (kernel / kernel.sum()).to(pictures)
        weight = _blur(visible, kernel)
        takes = open_ * (weight > FEW)
        found = torch.where(
            takes > 0, _blur(visible * pictures, kernel) / weight.clamp_min(1e-6), found
        )
        open_ = open_ - takes
    return found


def _mean(pictures: Tensor, visible: Tensor) -> Tensor:
    count = visible.sum((2, 3), keepdim=True).clamp_min(1)
    return (visible * pictures).sum((2, 3), keepdim=True) / count


def _blur(values: Tensor, kernel: Tensor) -> Tensor:
    """Blur along both axes, with mirrored borders."""
    rows, channels, height, width = values.shape
    radius = len(kernel) // 2
    flat = F.pad(values.reshape(-1, 1, height, width), (radius,) * 4, mode="reflect")
    flat = F.conv2d(F.conv2d(flat, kernel[None, None, :, None]), kernel[None, None, None, :])
    return flat.view(rows, channels, height, width)
