"""Relevance rules (R = x * g) for nonlinear operations, shared by LRP and excitation backprop.

    batch norm   folded into the preceding linear operation, else affine
    norm         the standard deviation is constant (LayerNorm, GroupNorm, RMSNorm, InstanceNorm)
    activation   R goes to the input: g (y - f(0)) / x  (GELU, SiLU, sigmoid, clamps, powers, roots)
    product      half of R to each factor; with a gate, all of it to the other factor
    quotient     the divisor is constant
    softmax      Taylor: R = x * gradient; the remainder is recorded in the ledger
    variance     half of the gradient, because a square would double the relevance
    shift        a term or token that does not depend on the picture absorbs its share
    affine       so do constants written into an activation, as by masks and padding
    constant     or left beside an activation that is written into them

AttnLRP, Achtibat et al. 2024, arXiv 2402.05602 (softmax, products, norms, activations);
gates receive no relevance: Arras et al. 2017, arXiv 1706.07206. Rectifiers, sums, pooling and views
need no rule: their gradient already propagates R.
"""

import torch
from torch import Tensor

from seewhy.autodiff.operations import Linear, Operation
from seewhy.autodiff.operations.norms import affine
from seewhy.autodiff.operations.pointwise import GATES
from seewhy.autodiff.rules.base import Rule

Pulled = tuple[Tensor | None, ...]


def taylor(operation: Operation, cotangent: Tensor) -> Pulled:
    """Return the gradient; the constant term of the Taylor expansion is credited to constants."""
    return _credited(operation, cotangent, operation.gradient(cotangent))


def batch_norm(operation: Operation, cotangent: Tensor) -> Pulled:
    """Pass the cotangent to the preceding linear operation, which includes it; else affine."""
    linear = operation.makers[0] if operation.makers else None
    if isinstance(linear, Linear):
        linear.send(operation.ledger, cotangent)
        return (cotangent,)
    _, shift = affine(operation.arguments)
    over_channels = shift.to(cotangent).view(-1, *[1] * (cotangent.ndim - 2))
    operation.ledger.credit(over_channels * cotangent)
    return operation.gradient(cotangent)


def held(operation: Operation, cotangent: Tensor) -> Pulled:
    """Return the gradient with statistics of the input (norm, divisor) held constant."""
    function = operation.function.held
    assert function is not None
    pulled = operation.recomputed(lambda *x: function(*x, **operation.arguments), cotangent)
    return _credited(operation, cotangent, pulled)


def proportional(operation: Operation, cotangent: Tensor) -> Pulled:
    """Return g y / x: all relevance goes to the input; where that is zero, to constants."""
    return _shared(operation, cotangent, operation.y)


def activation(operation: Operation, cotangent: Tensor) -> Pulled:
    """Return g (y - f(0)) / x; f(0), such as 0.5 of a sigmoid, is credited to constants.

    No input has caused it, and shared out in proportion it would grow without bound near x = 0.
    """
    at_zero = _at_zero(operation)
    if not bool(at_zero.any()):
        return proportional(operation, cotangent)
    operation.ledger.credit(at_zero * cotangent)
    return _shared(operation, cotangent, operation.y - at_zero)


def _shared(operation: Operation, cotangent: Tensor, y: Tensor) -> Pulled:
    (x,) = operation.x
    zero = x == 0
    if bool(zero.any()):
        operation.ledger.credit(torch.where(zero, y * cotangent, 0))
    return ((cotangent * torch.where(zero, 0, y / x)).sum_to_size(x.shape),)


def _at_zero(operation: Operation) -> Tensor:
    """The function's value for an input of zero; 0 where that is not finite, as of a logarithm."""
    (x,), arguments = operation.x, operation.arguments
    alike = not any(isinstance(value, Tensor) for value in arguments.values())
    zeros = x.new_zeros([1] * x.ndim if alike else x.shape)
    (name,) = (n for n in operation.function.operands if n not in arguments)
    value = operation.function.pure(**{name: zeros}, **arguments)
    return torch.where(value.isfinite(), value, 0)


def halved(operation: Operation, cotangent: Tensor) -> Pulled:
    """Return half the gradient of a quadratic function, since x * gradient is twice its value."""
    return tuple(None if p is None else p / 2 for p in operation.gradient(cotangent))


def product(operation: Operation, cotangent: Tensor) -> Pulled:
    """Give all relevance to the factor that is not a gate; without a gate, half to each."""
    pulled = operation.gradient(cotangent)
    gates = [maker is not None and is_gate(maker) for maker in operation.makers]
    if any(gates) and not all(gates):
        return tuple(None if gate else p for gate, p in zip(gates, pulled, strict=True))
    return tuple(None if p is None else p / 2 for p in pulled)


def is_gate(operation: Operation) -> bool:
    """Return whether the output is only a scale factor: of a sigmoid, reciprocal or 1 / root."""
    exponent = operation.arguments.get("exponent", 0)
    divides = isinstance(exponent, int | float) and exponent < 0
    return operation.function.pure in GATES or divides


def _credited(operation: Operation, cotangent: Tensor, pulled: Pulled) -> Pulled:
    """Credit constants with the relevance that the inputs do not receive: y g - sum of x g."""
    with torch.no_grad():
        operation.ledger.credit(relevance(operation.y, cotangent))
        for x, p in zip(operation.x, pulled, strict=True):
            if p is not None:
                operation.ledger.credit(-relevance(x, p))
    return pulled


def constant(operation: Operation, cotangent: Tensor) -> Pulled:
    """Credit constants with all of the relevance."""
    operation.ledger.credit(relevance(operation.y, cotangent))
    return (None,)


def relevance(values: Tensor, cotangent: Tensor) -> Tensor:
    """Return R = x * g; of a complex number the sum of both parts', 0 where x is infinite."""
    product = values * cotangent.conj()
    return (product.real if product.is_complex() else product).nan_to_num(0, 0, 0)


RELEVANCE: dict[str, Rule] = {
    "batch norm": batch_norm,
    "norm": held,
    "activation": activation,
    "clipped relu": activation,
    "elementwise": activation,
    "product": product,
    "quotient": held,
    "softmax": taylor,
    "log softmax": taylor,
    "variance": halved,
    "shift": taylor,
    "affine": taylor,
    "constant": constant,
}
