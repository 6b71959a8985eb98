"""The torch functions that a tape can record, by kind, and the data it records of each call."""

from collections.abc import Callable

from seewhy.autodiff.operations.base import Call, Function, Operation, can_be_ruled
from seewhy.autodiff.operations.elementwise import ELEMENTWISE_FUNCTIONS
from seewhy.autodiff.operations.exported import exported
from seewhy.autodiff.operations.extrema import EXTREMUM_FUNCTIONS
from seewhy.autodiff.operations.linear import LINEAR_FUNCTIONS, Linear
from seewhy.autodiff.operations.norms import NORM_FUNCTIONS
from seewhy.autodiff.operations.opened import OPENED
from seewhy.autodiff.operations.pointwise import POINTWISE_FUNCTIONS
from seewhy.autodiff.operations.products import PRODUCT_FUNCTIONS
from seewhy.autodiff.operations.rectifiers import RECTIFIER_FUNCTIONS

FUNCTIONS: dict[Callable, Function] = {
    **RECTIFIER_FUNCTIONS,
    **LINEAR_FUNCTIONS,
    **PRODUCT_FUNCTIONS,
    **NORM_FUNCTIONS,
    **POINTWISE_FUNCTIONS,
    **ELEMENTWISE_FUNCTIONS,
    **EXTREMUM_FUNCTIONS,
}

FUNCTIONS |= {op: f for op, f in exported(FUNCTIONS).items() if op not in FUNCTIONS}

RECTIFIER_KINDS = frozenset({"relu", "clipped relu"})

__all__ = [
    "FUNCTIONS",
    "OPENED",
    "RECTIFIER_KINDS",
    "Call",
    "Function",
    "Linear",
    "Operation",
    "can_be_ruled",
]
