"""DeepLIFT's rescale rule on a SqueezeNet, layer by layer and window by window, in float64.

Written from Shrikumar et al. 2017 (arXiv 1704.02685, section 3.5.2): a rectifier multiplies by
(y - y0) / (x - x0), or by its derivative where the two are the same; linear layers multiply by
their weights. The paper has no rule for a maximum pool. Here every window gives all that it rose to
the input that is its maximum now, and all that it fell to the input that was the maximum of the
reference; an input that is the maximum in both gets either. What an input is given by all of its
windows, over its own change, is its multiplier; so nothing is lost.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.squeezenet import Fire

NOISE = 256 * 2.0**-52  # of the largest value: numbers of the reference that are the same
Back = Callable[[Tensor], Tensor]  # multipliers of the output -> of the input
# Input and output now and of the reference, multipliers of the output -> of the input
Pool = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def contributions(
    net: nn.Module, x: Tensor, x0: Tensor, target: int, pool: Pool | None = None
) -> Tensor:
    """What each number of x, [1, 3, h, w] normalised and float64, adds to the rise from x0's score.

    `net`: torchvision's SqueezeNet, in evaluation mode and float64. `pool`: another rule for its
    maximum pools than `maximum_pool`.
    """
    with torch.no_grad():
        pair, backs = (x, x0), []
        for layer in [*net.features, *net.classifier]:
            pair, back = _through(layer, *pair, pool or maximum_pool)
            backs.append(back)
        start = torch.zeros_like(pair[0])
        start[:, target] = 1
        multipliers = start
        for back in reversed(backs):
            multipliers = back(multipliers)
        return multipliers * (x - x0)


def _through(
    layer: nn.Module, x: Tensor, x0: Tensor, pool: Pool | None = None
) -> tuple[tuple[Tensor, Tensor], Back]:
    """The outputs of a layer for both, and how multipliers pass it."""
    if isinstance(layer, Fire):
        return _fire(layer, x, x0)
    y, y0 = (layer(t.clone()) for t in (x, x0))  # a rectifier may work in place
    if isinstance(layer, nn.Conv2d):
        return (y, y0), lambda m: torch.nn.grad.conv2d_input(
            x.shape, layer.weight, m, layer.stride, layer.padding
        )
    if isinstance(layer, nn.ReLU):
        same = x == x0
        slope = torch.where(same, (x > 0).double(), (y - y0) / torch.where(same, 1, x - x0))
        return (y, y0), lambda m: m * slope
    if isinstance(layer, nn.MaxPool2d):
        assert pool is not None
        return (y, y0), lambda m: pool(x, x0, y, y0, m)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return (y, y0), lambda m: (m / x[0, 0].numel()).expand_as(x)
    assert isinstance(layer, nn.Dropout), layer
    return (x, x0), lambda m: m


def _fire(fire: Fire, x: Tensor, x0: Tensor) -> tuple[tuple[Tensor, Tensor], Back]:
    squeezed, back = _chain([fire.squeeze, fire.squeeze_activation], x, x0)
    narrow, back_narrow = _chain([fire.expand1x1, fire.expand1x1_activation], *squeezed)
    wide, back_wide = _chain([fire.expand3x3, fire.expand3x3_activation], *squeezed)
    split = narrow[0].shape[1]
    y, y0 = (torch.cat(both, 1) for both in zip(narrow, wide, strict=True))
    return (y, y0), lambda m: back(back_narrow(m[:, :split]) + back_wide(m[:, split:]))


def _chain(layers: list[nn.Module], x: Tensor, x0: Tensor) -> tuple[tuple[Tensor, Tensor], Back]:
    pair, back_first = _through(layers[0], x, x0)
    pair, back_second = _through(layers[1], *pair)
    return pair, lambda m: back_first(back_second(m))


def maximum_pool(x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, m: Tensor) -> Tensor:
    """Multipliers of the inputs of 3 x 3 windows, two apart, that may end beyond the border."""
    channels = np.arange(x.shape[1])
    now, before = x[0].numpy(), x0[0].numpy()
    # A flat reference has the same value everywhere, but for rounding: the first of them counts.
    step = NOISE * np.abs(before).max()
    before = np.round(before / step) * step
    given = np.zeros_like(now)
    height, width = now.shape[1:]
    for row in range(y.shape[2]):
        for column in range(y.shape[3]):
            top, left = 2 * row, 2 * column
            bottom, right = min(top + 3, height), min(left + 3, width)
            window = now[:, top:bottom, left:right].reshape(len(channels), -1)
            window0 = before[:, top:bottom, left:right].reshape(len(channels), -1)
            change = (y - y0)[0, :, row, column].numpy()
            largest, largest0 = window.argmax(1), window0.argmax(1)
            in_both = window0[channels, largest] == window0.max(1)
            chosen = np.where((change >= 0) | in_both, largest, largest0)
            places = channels, top + chosen // (right - left), left + chosen % (right - left)
            given[places] += m[0, :, row, column].numpy() * change
    change = (x - x0)[0].numpy()
    return torch.from_numpy(np.where(change == 0, 0, given / np.where(change == 0, 1, change)))[
        None
    ]
