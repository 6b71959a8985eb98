"""Extremal perturbation, as a plain loop in float64, pixel by pixel from the formulas."""

import math

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur


def extremal_mask(logit, x: Tensor, area: float, steps: int) -> Tensor:
    """The mask [height, width] for one picture [1, 3, height, width] after so many steps."""
    height, width = x.shape[-2:]
    scale = min(height, width) / 224
    step, sigma = max(1, round(7 * scale)), max(1.0, 21 * scale)
    rows, columns = math.ceil(height / step), math.ceil(width / step)
    radius, margin = 1 + math.ceil(sigma / step), math.ceil(sigma / step)
    weights, index = _neighbours(rows, columns, step, sigma, radius, margin)
    levels = [x]
    for level in range(1, 8):
        strength = 20 * scale * level / 7
        kernel = min(2 * round(3 * strength) + 1, 2 * (min(height, width) // 2) - 1)
        levels.append(gaussian_blur(x, [kernel, kernel], [strength, strength]))
    pyramid = torch.cat(levels)
    m = torch.ones(rows, columns, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([m], lr=0.01, momentum=0.9, dampening=0.9)
    tall = (rows + 2 * margin) * step
    wide = (columns + 2 * margin) * step
    zeros = math.floor(tall * wide * (1 - area))
    wanted = torch.cat([torch.zeros(zeros), torch.ones(tall * wide - zeros)]).double()
    for t in range(steps):
        w = weights * m.flatten()[index]
        canvas = (w * torch.softmax(20 * w, 1)).sum(1).view(tall, wide)
        start = margin * step
        mask = canvas[start : start + height, start : start + width]
        seen = _at_strength(pyramid, 1 - mask)
        seen = seen.flip(-1) if t % 2 else seen
        flat = canvas.flatten()
        order = (flat.detach() * 1e5).round().argsort(dim=0, stable=True)
        penalty = ((flat[order] - wanted) ** 2).mean()
        loss = -logit(seen[None]) + 300 * 1.0035**t * penalty
        optimiser.zero_grad()
        loss.backward()
        before = mask.detach().clone()
        optimiser.step()
        with torch.no_grad():
            m.clamp_(0, 1)
    return before


def _neighbours(rows, columns, step, sigma, radius, margin) -> tuple[Tensor, Tensor]:
    """For every pixel of the canvas, weights and indices of the lattice points around it."""
    weights, index = [], []
    for y in range(-margin * step, (rows + margin) * step):
        for x in range(-margin * step, (columns + margin) * step):
            w, n = [], []
            for i in range(y // step - radius, y // step + radius + 1):
                for j in range(x // step - radius, x // step + radius + 1):
                    middle = (step - 1) / 2
                    d = math.hypot(i * step + middle - y, j * step + middle - x)
                    w.append(math.exp(-2 * max(0.0, d / sigma - 0.5) ** 2))
                    inside = min(max(i, 0), rows - 1), min(max(j, 0), columns - 1)
                    n.append(inside[0] * columns + inside[1])
            weights.append(w)
            index.append(n)
    return torch.tensor(weights, dtype=torch.float64), torch.tensor(index)


def _at_strength(pyramid: Tensor, strength: Tensor) -> Tensor:
    """Linear between the two levels next to the strength."""
    place = (strength * 7).clamp(0, 7)
    low = place.detach().floor().clamp(max=6).long()
    part = place - low
    pick = lambda level: pyramid.gather(0, level[None, None].expand(1, 3, -1, -1))[0]  # noqa: E731
    return (1 - part) * pick(low) + part * pick(low + 1)
