"""The part of the picture that a cell of a layer depends on, found by asking the network."""

import torch
from torch import Tensor

from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address
from seewhy.models.hooks import hooked
from seewhy.models.model import Model
from seewhy.models.session import borrowed

SEED = 0xF1E1D


def receptive_field(model: Model, layer: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width, in pixels of the model's input, that a cell depends on.

    The gradients of the middle cell's channels are taken for a picture of noise of the given size;
    where they are not zero lies the receptive field. Max pooling and rectifiers may hide pixels at
    its border, so it is the largest of several pictures. Raises SeewhyError for a layer without
    rows and columns, and for a network without gradients.
    """
    generator = torch.Generator().manual_seed(SEED)
    pixels = torch.rand(4, model.preparation.channels, *size, generator=generator)
    place = Address.parse(layer)
    grid = model.layer_graph(pixels).layer(place.layer).grid
    if grid is None:
        raise SeewhyError(f"the output of {layer} has no rows and columns; name another layer")
    found: list[Tensor] = []

    def hook(tensor: Tensor, call: int) -> None:
        found[:] = [tensor]

    with borrowed(model.net):
        probe = pixels.to(model.device, model.dtype).requires_grad_()
        with hooked(model.net, {place.layer: hook}):
            model.forward(probe)
        maps = grid.maps(found[0])
        row, column = maps.shape[2] // 2, maps.shape[3] // 2
        if not maps.requires_grad:
            raise SeewhyError(f"no gradient reaches the pixels from {layer}")
        (gradient,) = torch.autograd.grad(maps[:, :, row, column].abs().sum(), probe)
    touched = gradient.abs().sum((0, 1)) > 0
    rows, columns = (touched.any(axis).nonzero()[:, 0] for axis in (1, 0))
    if not len(rows):
        return size
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
