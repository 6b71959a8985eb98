"""DeepLIFT's rescale rule: distributes a change of the output over the changes of the inputs.

Two forward passes are compared, of the picture (x, y) and of a reference (x0, y0). The cotangent
that a rule returns is a *multiplier* m that conserves the total:

    sum over inputs of m * (x - x0)  =  cotangent * (y - y0)

    elementwise   (y - y0) / (x - x0); the gradient where the two hardly differ
    maximum       a rise goes to the current maximum, a fall to the maximum of the reference
    product       a b - a0 b0 = (a - a0) (b + b0) / 2 + (b - b0) (a + a0) / 2
    quotient      y = a / b, written as the product y b = a and solved for y - y0
    softmax       y = exp(x - l), l = log sum exp x: exp is elementwise with slope k; as the y sum
                  to one before and after, l - l0 = sum of k (x - x0) / sum of k
    norm          a quotient: (x - mean) / sqrt(mean square + eps), root and square elementwise

Every line is an exact finite difference and tends to the derivative as x0 tends to x. Among several
exact forms, these keep multipliers small for a nearly constant reference: a quotient divides by the
mean of b and b0, not by each of them. Linear operations need no rule: their gradient conserves the
total.

Avanti Shrikumar, Peyton Greenside, Anshul Kundaje 2017, arXiv 1704.02685 (elementwise).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.autodiff.operations import FUNCTIONS, Operation
from seewhy.autodiff.rules.base import Rule, Rules
from seewhy.errors import NotApplicable

NOISE = 256  # times the precision of a number, in the sums of convolutions

Pulled = tuple[Tensor | None, ...]
# Called with the operation, the cotangent, and x0 and y0 for each picture.
ComparingRule = Callable[[Operation, Tensor, tuple[Tensor, ...], Tensor], Pulled]


OTHER_OPERATIONS = (
    "the network runs different operations on the reference than on the pictures, so the two "
    "cannot be compared; try another baseline, or one picture at a time"
)


def comparing(rule: ComparingRule) -> Rule:
    """Decorate a rule that also takes the operation's inputs and output for the reference."""

    def for_operation(operation: Operation, cotangent: Tensor) -> Pulled:
        with torch.no_grad():
            reference = operation.ledger.reference.get((operation.kind, operation.number))
            if reference is None or reference.function is not operation.function:
                raise NotApplicable(OTHER_OPERATIONS)
            x0 = tuple(beside(a, b) for a, b in zip(reference.x, operation.x, strict=True))
            return rule(operation, cotangent, x0, beside(reference.y, operation.y))

    return for_operation


def beside(reference: Tensor, pictures: Tensor) -> Tensor:
    """Repeat the values of one reference for each picture of a batch; a batch is unchanged.

    If a network folds other axes into the batch (windows, heads), pictures are the outer index.
    Raises NotApplicable if the shapes cannot be matched.
    """
    if reference.shape == pictures.shape:
        return reference
    old, new = reference.shape, pictures.shape
    axes = [i for i, sizes in enumerate(zip(old, new, strict=False)) if sizes[0] != sizes[1]]
    if len(old) == len(new) and len(axes) == 1 and new[axes[0]] % old[axes[0]] == 0:
        (axis,) = axes
        times = new[axis] // old[axis]
        repeated = reference.unsqueeze(axis).expand(*old[:axis], times, *old[axis:])
        return repeated.flatten(axis, axis + 1)
    raise NotApplicable(OTHER_OPERATIONS)


@comparing
def elementwise(op: Operation, cotangent: Tensor, x0: tuple[Tensor, ...], y0: Tensor) -> Pulled:
    """Multiply by the slope of the chord between (x0, y0) and (x, y)."""
    (x,), (x0_,) = op.x, x0
    # In a smaller difference more than half of the digits are rounding error.
    differs = (x - x0_).abs() > _half_the_digits(x) * torch.maximum(x.abs(), x0_.abs())
    chord = torch.where(differs, cotangent * (op.y - y0) / (x - x0_), 0)
    (tangent,) = op.gradient(torch.where(differs, 0, cotangent))
    assert tangent is not None
    return (chord.sum_to_size(x.shape) + tangent,)


@comparing
def extremum(op: Operation, cotangent: Tensor, x0: tuple[Tensor, ...], y0: Tensor) -> Pulled:
    """Give everything to one input: the current maximum, or after a fall the reference's maximum.

    An input that is the maximum in both is preferred, because a flat reference has many maxima.
    These differ by rounding, which must not decide: it depends on the device and the batch.
    """
    now, before = _Choice(op, op.x), _Choice(op, tuple(_without_noise(t) for t in x0))
    change = tuple(a - b for a, b in zip(op.x, x0, strict=True))
    of_now, of_before, of_output = now.chosen(change), before.chosen(change), op.y - y0
    rose = of_output <= 0 if op.kind == "minimum" else of_output >= 0
    rounding = _half_the_digits(op.y) * torch.maximum(op.y.abs(), y0.abs())
    in_both, in_both_too = ((c - of_output).abs() <= rounding for c in (of_now, of_before))
    to_now = in_both | (rose & ~in_both_too)
    # The chosen input changed at least as much as the extremum did.
    of_chosen = torch.where(to_now, of_now, of_before)
    passed = cotangent * torch.where(of_chosen.abs() <= rounding, 1, of_output / of_chosen)
    to_each = zip(now.share(passed * to_now), before.share(passed * ~to_now), strict=True)
    return tuple(a + b for a, b in to_each)


class _Choice:
    """Which input each maximum selects, as a linear map and its transpose."""

    def __init__(self, op: Operation, inputs: Sequence[Tensor]):
        with torch.enable_grad():
            self._inputs = [t.detach().requires_grad_() for t in inputs]
            self._output = _recomputed(op, self._inputs)
            self._shares = torch.zeros_like(self._output, requires_grad=True)
            self._back = torch.autograd.grad(
                self._output, self._inputs, self._shares, create_graph=True
            )

    def chosen(self, values: Sequence[Tensor]) -> Tensor:
        """Select, from values of the inputs' shapes, those at the positions of the maxima."""
        return torch.autograd.grad(self._back, self._shares, values, retain_graph=True)[0]

    def share(self, values: Tensor) -> tuple[Tensor, ...]:
        """Scatter values of the output's shape to the positions of the maxima, adding them up."""
        return torch.autograd.grad(self._output, self._inputs, values, retain_graph=True)


@comparing
def half_way(op: Operation, cotangent: Tensor, x0: tuple[Tensor, ...], y0: Tensor) -> Pulled:
    """Use the gradient at (x + x0) / 2, which is exact for bilinear and quadratic functions."""
    return _pulled_half_way(op, cotangent, x0)


@comparing
def quotient(op: Operation, cotangent: Tensor, x0: tuple[Tensor, ...], y0: Tensor) -> Pulled:
    """Solve y b = a for the change of y; if b changes its sign, use the product a * (1 / b)."""
    (a, b), (a0, b0) = op.x, x0
    same_sign = b * b0 > 0
    passed = cotangent * torch.where(same_sign, 2 / (b + b0), (1 / b + 1 / b0) / 2)
    of_divisor = torch.where(
        same_sign, -passed * (op.y + y0) / 2, -cotangent * (a + a0) / (2 * b * b0)
    )
    return passed.sum_to_size(a.shape), of_divisor.sum_to_size(b.shape)


@comparing
def softmax(op: Operation, cotangent: Tensor, x0: tuple[Tensor, ...], y0: Tensor) -> Pulled:
    """Compute k g - k (sum of k g) / (sum of k), with k the slope of the exponential."""
    dim = _softmax_dim(op)
    slope = _slope_of_exp(op.x[0], x0[0], op.y, y0, dim)
    passed = slope * cotangent
    return (passed - slope * passed.sum(dim, keepdim=True) / slope.sum(dim, keepdim=True),)


@comparing
def log_softmax(op: Operation, cotangent: Tensor, x0: tuple[Tensor, ...], y0: Tensor) -> Pulled:
    """Compute g - k (sum of g) / (sum of k), with k the slope of the exponential."""
    dim = _softmax_dim(op)
    slope = _slope_of_exp(op.x[0], x0[0], op.y.exp(), y0.exp(), dim)
    share = slope / slope.sum(dim, keepdim=True)
    return (cotangent - share * cotangent.sum(dim, keepdim=True),)


def _softmax_dim(op: Operation) -> int:
    dim = op.arguments.get("dim")
    return -1 if dim is None else dim


def _slope_of_exp(x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, dim: int) -> Tensor:
    """Compute (y - y0) / (log y - log y0) for two softmaxes; y where they hardly differ."""
    change = F.log_softmax(x, dim, dtype=y.dtype) - F.log_softmax(x0, dim, dtype=y.dtype)
    # False where both are masked, because infinity minus infinity is NaN.
    differs = change.abs() > _half_the_digits(y)
    return torch.where(differs, (y - y0) / change, y)


@comparing
def norm(op: Operation, cotangent: Tensor, x0: tuple[Tensor, ...], y0: Tensor) -> Pulled:
    """Treat a norm as the centred input divided by the root of its mean square."""
    arguments = op.arguments
    if not arguments.get("use_input_stats", True):
        return op.gradient(cotangent)
    weight = arguments.get("weight")
    together = _measured_together(op)
    passed = cotangent if weight is None else cotangent * _over_input(op, weight)
    wide = torch.promote_types(cotangent.dtype, torch.float32)
    x, x0_, passed = (t.to(wide).reshape(together) for t in (op.x[0], x0[0], passed))
    centred = op.function is not FUNCTIONS[F.rms_norm]
    if centred:
        x, x0_ = x - x.mean(-1, keepdim=True), x0_ - x0_.mean(-1, keepdim=True)
    eps = arguments.get("eps", 1e-5 if centred else None)
    eps = torch.finfo(op.y.dtype).eps if eps is None else eps
    std, std0 = ((t.square().mean(-1, keepdim=True) + eps).sqrt() for t in (x, x0_))
    y, root = (x / std + x0_ / std0) / 2, (std + std0) / 2
    pulled = (passed - (passed * y).mean(-1, keepdim=True) * (x + x0_) / (2 * root)) / root
    if centred:
        pulled = pulled - pulled.mean(-1, keepdim=True)
    return (pulled.reshape(op.x[0].shape),)


def _measured_together(op: Operation) -> tuple[int, ...]:
    """The input's shape, with all values that share a standard deviation in the last axis."""
    shape, arguments = op.x[0].shape, op.arguments
    if "normalized_shape" in arguments:
        return (*shape[: len(shape) - len(arguments["normalized_shape"])], -1)
    return (shape[0], arguments.get("num_groups", shape[1]), -1)


def _over_input(op: Operation, weight: Tensor) -> Tensor:
    """Reshape the weight of a norm so that it broadcasts with the input."""
    if "normalized_shape" in op.arguments:
        return weight
    return weight.view(-1, *[1] * (op.x[0].ndim - 2))


@comparing
def euclidean(op: Operation, cotangent: Tensor, x0: tuple[Tensor, ...], y0: Tensor) -> Pulled:
    """Use |x| - |x0| = sum of (x - x0) (x + x0) / (|x| + |x0|)."""
    both = op.y + y0
    passed = torch.where(both == 0, 0, cotangent / both)
    return _pulled_half_way(op, passed, x0, torch.square)


def _pulled_half_way(
    op: Operation,
    cotangent: Tensor,
    x0: tuple[Tensor, ...],
    then: Callable[[Tensor], Tensor] = lambda y: y,
) -> Pulled:
    with torch.enable_grad():
        half_way = [((a + b) / 2).requires_grad_() for a, b in zip(op.x, x0, strict=True)]
        output = then(_recomputed(op, half_way))
    return torch.autograd.grad(output, half_way, cotangent)


def _recomputed(op: Operation, inputs: Sequence[Tensor]) -> Tensor:
    names = [name for name in op.function.operands if name not in op.arguments]
    return op.function.pure(**dict(zip(names, inputs, strict=True)), **op.arguments)


def _without_noise(values: Tensor) -> Tensor:
    """Round off what sums of products may leave in the last digits of numbers that are the same.

    Infinite values, as of padding, are left as they are.
    """
    share = min(NOISE * torch.finfo(values.dtype).eps, _half_the_digits(values))
    largest = values.nan_to_num(0, 0, 0).abs_().amax()
    step = largest.clamp_min(torch.finfo(values.dtype).tiny / share) * share
    return (values / step).round_().mul_(step)


def _half_the_digits(values: Tensor) -> float:
    return torch.finfo(values.dtype).eps ** 0.5


RESCALE = Rules(
    "rescale",
    {
        "relu": elementwise,
        "clipped relu": elementwise,
        "activation": elementwise,
        "elementwise": elementwise,
        "max pool": extremum,
        "maximum": extremum,
        "minimum": extremum,
        "product": half_way,
        "variance": half_way,
        "quotient": quotient,
        "softmax": softmax,
        "log softmax": log_softmax,
        "norm": norm,
        "euclidean norm": euclidean,
    },
    reads_input=frozenset({"relu"}),
    compares=True,
)
