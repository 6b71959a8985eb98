"""The torch functions that a tape can watch, by kind, and what it records of each."""

from collections.abc import Callable

from seewhy.operations.base import Call, Function, Operation
from seewhy.operations.elementwise import ELEMENTWISE_FUNCTIONS
from seewhy.operations.exported import exported
from seewhy.operations.extrema import EXTREMUM_FUNCTIONS
from seewhy.operations.linear import LINEAR_FUNCTIONS, Linear
from seewhy.operations.norms import NORM_FUNCTIONS
from seewhy.operations.opened import OPENED
from seewhy.operations.pointwise import POINTWISE_FUNCTIONS
from seewhy.operations.products import PRODUCT_FUNCTIONS
from seewhy.operations.rectifiers import RECTIFIER_FUNCTIONS

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

__all__ = ["FUNCTIONS", "OPENED", "RECTIFIER_KINDS", "Call", "Function", "Linear", "Operation"]
