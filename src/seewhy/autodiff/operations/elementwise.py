"""Functions of each number separately, and a few reductions other than norms and softmax.

"elementwise"      applied to each number separately: powers, roots, logarithms, PReLU, other clamps
"log softmax"      the last layer of some classifiers
"variance"         and other sums of squares
"euclidean norm"   vector lengths, standard deviations and other square roots of such sums
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.autodiff.operations.base import Arguments, Compute, Function, always, depends

_UNARY = (
    "abs", "acos", "arctan", "asin", "atan", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1",
    "log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "square", "tan",
)  # fmt: skip


def _unary(function: Callable) -> Compute:
    def pure(input: Tensor) -> Tensor:
        return function(input)

    return pure


def _pow(input: Tensor, exponent: Any) -> Tensor:
    return torch.pow(input, exponent)


def _clamp_max(input: Tensor, max: Any) -> Tensor:
    return torch.clamp_max(input, max)


def _rpow(input: Tensor, other: Any) -> Tensor:
    return torch.pow(other, input)


def _prelu(input: Tensor, weight: Tensor) -> Tensor:
    return torch.prelu(input, weight)


def _threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    return F.threshold(input, threshold, value)


def _softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    return F.softshrink(input, lambd)


def _hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    return F.hardshrink(input, lambd)


def _log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    return torch.log_softmax(input, -1 if dim is None else dim, dtype=dtype)


def _norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    return torch.linalg.vector_norm(input, 2, dim, keepdim, dtype=dtype)


def _vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    return torch.linalg.vector_norm(x, ord, dim, keepdim, dtype=dtype)


def _statistic(function: Callable) -> Compute:
    def pure(
        input: Tensor,
        dim: Any = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Tensor:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = int(unbiased) if correction is None else correction
        return function(input, dim, correction=correction, keepdim=keepdim)

    return pure


def _if_fixed(name: str) -> Callable[[Arguments], str | None]:
    """Return the kind "elementwise" if the named parameter does not depend on the picture."""
    return lambda arguments: None if depends(arguments.get(name)) else "elementwise"


def _if_euclidean(order: str) -> Callable[[Arguments], str | None]:
    """Return the kind "euclidean norm" for order 2, which includes the Frobenius norm."""
    return lambda arguments: (
        "euclidean norm" if arguments.get(order, 2) in (2, "fro", None) else None
    )


def _variants(
    names: tuple[str, ...], pure: Compute, kind: Callable[[Arguments], str | None], **more: Any
) -> dict[Callable, Function]:
    """Map the torch functions and methods of these names, also in place, to a `Function`."""
    candidates = [(o, name + e) for o in (torch, Tensor) for name in names for e in ("", "_")]
    return {
        getattr(owner, name): Function(pure, kind, in_place=name.endswith("_"), **more)
        for owner, name in candidates
        if hasattr(owner, name)
    }


_ELEMENTWISE = always("elementwise")


def _size(arguments: Arguments) -> str:
    """Return the kind of `abs`, which of a complex number is a length."""
    return "euclidean norm" if arguments["input"].is_complex() else "elementwise"


ELEMENTWISE_FUNCTIONS: dict[Callable, Function] = {
    torch_function: function
    for name in _UNARY
    for torch_function, function in _variants(
        (name,), _unary(getattr(torch, name)), _size if name == "abs" else _ELEMENTWISE
    ).items()
}
ELEMENTWISE_FUNCTIONS |= {
    **_variants(("pow",), _pow, _if_fixed("exponent")),
    **_variants(("clamp_max",), _clamp_max, _if_fixed("max")),
    **_variants(("prelu",), _prelu, _if_fixed("weight")),
    **_variants(("log_softmax",), _log_softmax, always("log softmax")),
    **_variants(("norm",), _norm, _if_euclidean("p")),
    **_variants(("var",), _statistic(torch.var), always("variance")),
    **_variants(("std",), _statistic(torch.std), always("euclidean norm")),
    Tensor.__pow__: Function(_pow, _if_fixed("exponent")),
    Tensor.__rpow__: Function(_rpow, _if_fixed("other")),
    F.prelu: Function(_prelu, _if_fixed("weight")),
    F.logsigmoid: Function(_unary(F.logsigmoid), _ELEMENTWISE),
    F.softsign: Function(_unary(F.softsign), _ELEMENTWISE),
    F.tanhshrink: Function(_unary(F.tanhshrink), _ELEMENTWISE),
    F.hardshrink: Function(_hardshrink, _ELEMENTWISE),
    F.softshrink: Function(_softshrink, _ELEMENTWISE),
    F.threshold: Function(_threshold, _ELEMENTWISE),
    torch.threshold: Function(_threshold, _ELEMENTWISE),
    F.log_softmax: Function(_log_softmax, always("log softmax")),
    torch.linalg.vector_norm: Function(_vector_norm, _if_euclidean("ord"), operands=("x",)),
}
