"""Reference for extremal perturbation: a plain float64 loop over pixels, from the formulas."""

import math

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur


def extremal_mask(logit, x: Tensor, area: float, steps: int) -> Tensor:
    """Return the published mask [height, width] of a picture [1, 3, height, width]."""
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
    """Return the weights and indices of the lattice points around every pixel of the canvas."""
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
    """Interpolate linearly between the two nearest blur levels."""
    position = (strength * 7).clamp(0, 7)
    low = position.detach().floor().clamp(max=6).long()
    part = position - low
    pick = lambda level: pyramid.gather(0, level[None, None].expand(1, 3, -1, -1))[0]  # noqa: E731
    return (1 - part) * pick(low) + part * pick(low + 1)


def exact_mask(score, x: Tensor, area: float, steps: int, of: int) -> Tensor:
    """Return our mask [height, width] after the first `steps` of a schedule of `of` steps."""
    height, width = x.shape[-2:]
    scale = min(height, width) / 224
    step, sigma = max(1, round(7 * scale)), max(1.0, 21 * scale)
    rows, columns = math.ceil(height / step), math.ceil(width / step)
    across = _distances(height, width, rows, columns, step)
    weights = torch.exp(-0.5 * (across / sigma) ** 2)
    weights = weights / weights.sum((2, 3), keepdim=True)
    strength = 20 * scale
    kernel = min(2 * round(3 * strength) + 1, 2 * min(height, width) - 1)
    hidden = gaussian_blur(x, [kernel, kernel], [strength, strength])
    blend = lambda m: m * x + (1 - m) * hidden  # noqa: E731
    rise = torch.zeros(rows, columns).double()
    for level in (0.2, 0.4, 0.6, 0.8):
        m = torch.full((rows, columns), level).double().requires_grad_()
        field = (weights * m).sum((2, 3))
        rise += torch.autograd.grad(score(blend(field)), m)[0]
    m = (0.5 + 0.2 * (rise - rise.mean()) / rise.std()).clamp(0, 1).requires_grad_()
    optimiser = torch.optim.Adam([m], lr=0.1, betas=(0.9, 0.99), eps=1e-5)
    for t in range(steps):
        softness = 0.02 * 0.05 ** (t / (of - 1))
        mask = _of_area((weights * m).sum((2, 3)), area, softness)
        seen = blend(mask)
        optimiser.param_groups[0]["lr"] = 0.1 * 0.1 ** (t / of)
        optimiser.zero_grad()
        (-score(seen.flip(-1) if t % 2 else seen)).backward()
        before = m.detach().clone()
        optimiser.step()
        with torch.no_grad():
            m.clamp_(0, 1)
    return _of_area((weights * before).sum((2, 3)), area, 0.02)


def _of_area(field: Tensor, area: float, softness: float) -> Tensor:
    """Return sigmoid((F - tau) / softness) with mean `area`; the Newton step differentiates tau."""
    low, high = field.detach().min() - 1, field.detach().max() + 1
    for _ in range(80):
        tau = (low + high) / 2
        large = torch.sigmoid((field.detach() - tau) / softness).mean() > area
        low, high = (tau, high) if large else (low, tau)
    mask = torch.sigmoid((field - tau) / softness)
    slope = (mask * (1 - mask)).mean().detach() / softness
    return torch.sigmoid((field - tau - (mask.mean() - area) / slope) / softness)


def _distances(height: int, width: int, rows: int, columns: int, step: int) -> Tensor:
    """Return the distances from pixel centres to lattice points at the centres of their cells."""
    apart = torch.zeros(height, width, rows, columns).double()
    for i in range(rows):
        for j in range(columns):
            y, x = (i + 0.5) * step, (j + 0.5) * step
            down = (torch.arange(height).double() + 0.5 - y) ** 2
            across = (torch.arange(width).double() + 0.5 - x) ** 2
            apart[:, :, i, j] = (down[:, None] + across).sqrt()
    return apart
