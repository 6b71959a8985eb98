"""Networks without values, and outputs that are not floating-point numbers, end in one line."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import SeewhyError

PIXELS = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Puts(nn.Module):
    """A small classifier whose logits are changed at the end."""

    def __init__(self, change: Callable[[Tensor], object]):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)
        self.change = change

    def forward(self, x: Tensor) -> object:
        return self.change(self.head(self.body(x).relu().mean((2, 3))))


OUTPUTS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "sparse": (lambda y: y.to_sparse(), "a sparse tensor"),
    "csr": (lambda y: y.to_sparse_csr(), "a sparse tensor"),
    "nested": (lambda y: torch.nested.nested_tensor(list(y)), "a nested tensor"),
    "complex": (lambda y: y.to(torch.complex64), "numbers of the type torch.complex64"),
    "float8": (lambda y: y.to(torch.float8_e4m3fn), "numbers of the type torch.float8"),
    "whole": (lambda y: y.argmax(1, keepdim=True), "numbers of the type torch.int64"),
    "truth": (lambda y: y > 0, "numbers of the type torch.bool"),
    "meta": (lambda y: y.to("meta"), "without values"),
    "no classes": (lambda y: y[:, :0], r"returned \(1, 0\)"),
    "NaN": (lambda y: y * torch.nan, "NaN or infinite logits"),
    "infinite": (lambda y: y / 0, "NaN or infinite logits"),
    "text": (lambda y: "dog", "a str"),
}


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon-plus", "rise"])
@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.filterwarnings("ignore:Sparse CSR|The PyTorch API of nested:UserWarning")
def test_outputs_that_are_no_logits_are_refused(kind: str, method: str):
    change, says = OUTPUTS[kind]
    with pytest.raises(SeewhyError, match=says) as caught:
        seewhy.explain(seewhy.Model(Puts(change), mean=0.0, std=1.0), PIXELS, method)
    assert "\n" not in str(caught.value)


def test_networks_without_values_are_refused():
    lazy = [nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.LazyBatchNorm2d(affine=False)]
    for layer in lazy:
        with pytest.raises(SeewhyError, match="lazy layers; run it once"):
            seewhy.Model(nn.Sequential(nn.Conv2d(3, 4, 3), layer))
    with pytest.raises(SeewhyError, match="without values"):
        seewhy.Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(3, 3, device="meta")))


def test_complex_weights_with_real_outputs_are_explained():
    class Spectral(Puts):
        def __init__(self) -> None:
            super().__init__(torch.abs)
            self.head = nn.Identity()
            self.mixed = nn.Parameter(torch.ones(4, 3, dtype=torch.complex64))

        def forward(self, x: Tensor) -> Tensor:
            return (self.body(x).relu().mean((2, 3)).to(torch.complex64) @ self.mixed).abs()

    explanation = seewhy.explain(seewhy.Model(Spectral(), mean=0.0, std=1.0), PIXELS, "gradient")
    assert explanation.heatmap.isfinite().all() and explanation.heatmap.any()


@pytest.mark.parametrize("method", ["gradient", "deep-lift"])
def test_a_map_without_any_number_is_refused(method: str):
    class RootOfZero(Puts):
        def forward(self, x: Tensor) -> Tensor:
            return self.head((self.body(x).relu() * 0).sqrt().mean((2, 3)))

    model = seewhy.Model(RootOfZero(torch.abs), mean=0.0, std=1.0)
    with pytest.raises(SeewhyError, match=f"{method} gives NaN or infinity for every pixel"):
        seewhy.explain(model, PIXELS, method)
