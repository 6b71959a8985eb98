"""Convert values to JSON types."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor


def jsonable(value: Any) -> Any:
    """Convert a value to JSON types: six significant digits, None for NaN and infinities."""
    match value:
        case float():
            return float(f"{value:.6g}") if math.isfinite(value) else None
        case bool() | int() | str() | None:
            return value
        case list() | tuple():
            return [jsonable(v) for v in value]
        case Mapping():
            return {str(k): jsonable(v) for k, v in value.items()}
        case Tensor() | np.ndarray() | np.generic():
            return jsonable(value.tolist())
    return str(value)
