"""Products, quotients and sums of tensors, classified by which operands depend on the picture.

"product"   both factors do: gates, attention
"quotient"  the divisor does: norms written as basic operations; of a constant it is "elementwise"
"sum"       both terms do: residual connections
"shift"     one term does not: position embeddings, class tokens
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seewhy.autodiff.operations.base import Arguments, Call, Compute, Function, always, depends
from seewhy.autodiff.operations.linear import MATMUL

_BOTH = ("input", "other")


def _mul(input: Any, other: Any) -> Tensor:
    return input * other


def _matmul(input: Tensor, other: Tensor) -> Tensor:
    return torch.matmul(input, other)


def _bmm(input: Tensor, mat2: Tensor) -> Tensor:
    return torch.bmm(input, mat2)


def _baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    return torch.baddbmm(input, batch1, batch2, beta=beta, alpha=alpha)


def _einsum(input: Tensor, other: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, input, other)


def _div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    return torch.div(input, other, rounding_mode=rounding_mode)


def _rdiv(input: Any, other: Any) -> Tensor:
    return other / input


def _add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    return torch.add(input, other, alpha=alpha)


def _sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    return torch.sub(input, other, alpha=alpha)


def _rsub(input: Any, other: Any) -> Tensor:
    return other - input


def _sum_kind(arguments: Arguments) -> str:
    return "sum" if depends(arguments["input"]) and depends(arguments["other"]) else "shift"


def _all_depend(kind: str, *names: str) -> Callable[[Arguments], str | None]:
    return lambda arguments: kind if all(depends(arguments[n]) for n in names) else None


def _divided(input: Tensor, other: Tensor, *, rounding_mode: str | None = None) -> Tensor:
    return input / other.detach()


def _quotient_kind(arguments: Arguments) -> str | None:
    if arguments.get("rounding_mode") is not None or not depends(arguments["other"]):
        return None
    return "quotient" if depends(arguments["input"]) else "elementwise"


@dataclass(frozen=True)
class ProductOrLinear(Function):
    """A matrix product, which is a linear operation if the matrix on the right is constant."""

    def bind(self, args: tuple, kwargs: Arguments) -> Call | None:
        """Parse a call as a product if both factors depend on the picture, else as linear."""
        product = super().bind(args, kwargs)
        if product is not None:
            return product
        other = kwargs.get("other", args[1] if len(args) > 1 else None)
        return (
            None if depends(other) or not isinstance(other, Tensor) else MATMUL.bind(args, kwargs)
        )


@dataclass(frozen=True)
class Einsum(Function):
    """An einsum, which is a product if it has two factors that depend on the picture."""

    def bind(self, args: tuple, kwargs: Arguments) -> Call | None:
        """Parse a call with exactly two factors as a product."""
        equation, *factors = args
        factors = factors[0] if isinstance(factors[0], list | tuple) else factors
        if not isinstance(equation, str) or len(factors) != 2:
            return None
        return super().bind(tuple(factors), {"equation": equation})


@dataclass(frozen=True)
class Concatenation(Function):
    """A concatenation; tensors that do not depend on the picture are constants."""

    def bind(self, args: tuple, kwargs: Arguments) -> Call | None:
        """Parse a call as a shift if some of the tensors are constants, else as None."""
        members: Sequence[Tensor] = kwargs.get("tensors", args[0] if args else ())
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        variable = [i for i, t in enumerate(members) if depends(t)]
        if not isinstance(dim, int) or not variable or len(variable) == len(members):
            return None

        def compute(*tensors: Tensor) -> Tensor:
            new = dict(zip(variable, tensors, strict=True))
            return self.pure([new.get(i, t) for i, t in enumerate(members)], dim)

        operands = tuple(members[i] for i in variable)
        return Call("shift", self, compute, operands, {"dim": dim}, False)


def _variants(
    pure: Compute, kind: Callable[[Arguments], str | None], names: Sequence[str], **more: Any
) -> dict[Callable, Function]:
    """Map the function, method and in-place method of each name to a `Function`."""
    plain = Function(pure, kind, _BOTH, **more)
    inplace = Function(pure, kind, _BOTH, in_place=True, **more)
    functions: dict[Callable, Function] = {}
    for name in names:
        functions[getattr(torch, name)] = functions[getattr(Tensor, name)] = plain
        functions[getattr(Tensor, name + "_")] = inplace
    return functions


MATRIX_PRODUCTS = frozenset([_matmul, _bmm, _baddbmm, _einsum])

_MATMUL = ProductOrLinear(_matmul, _all_depend("product", "input", "other"), _BOTH)
_BMM = Function(_bmm, _all_depend("product", "input", "mat2"), ("input", "mat2"))
_BADDBMM = Function(
    _baddbmm,
    lambda a: "product" if depends(a["batch1"]) and depends(a["batch2"]) and not depends(a["input"])
    and a.get("beta", 1) == 0 else None,
    ("batch1", "batch2"),
)  # fmt: skip

PRODUCT_FUNCTIONS: dict[Callable, Function] = {
    **_variants(_mul, _all_depend("product", *_BOTH), ["mul", "multiply"]),
    **dict.fromkeys([torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm], _MATMUL),
    **dict.fromkeys([torch.bmm, Tensor.bmm], _BMM),
    **dict.fromkeys([torch.baddbmm, Tensor.baddbmm], _BADDBMM),
    torch.einsum: Einsum(_einsum, _all_depend("product", *_BOTH), _BOTH),
    **_variants(_div, _quotient_kind, ["div", "divide", "true_divide"], held=_divided),
    **_variants(_add, _sum_kind, ["add"]),
    **_variants(_sub, _sum_kind, ["sub", "subtract"]),
    Tensor.__rdiv__: Function(_rdiv, always("elementwise")),
    Tensor.__rsub__: Function(_rsub, _sum_kind, _BOTH),
    **dict.fromkeys([torch.cat, torch.concat, torch.concatenate],
                    Concatenation(torch.cat, lambda arguments: "shift")),
}  # fmt: skip
