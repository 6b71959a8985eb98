"""The base class of attribution methods, and the registry of all methods.

A method is a frozen dataclass whose fields are its hyperparameters. Defining the class registers
it: it then appears in `seewhy.methods()`, on the command line, in the documentation and in the
contract tests.
"""

import dataclasses
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from reprlib import repr as short_repr
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from jaxtyping import Float
from torch import Tensor

from seewhy.engine.recording import Recording, Request
from seewhy.errors import SeewhyError, Unknown
from seewhy.models.model import Model

# Of steps, masks, samples and other whole numbers: more would take days.
LARGEST, MOST_VALUES = 1_000_000, 1_000

REGISTRY: dict[str, type["Method"]] = {}


@dataclass(frozen=True)
class Attribution:
    """The result of a method, on its own grid.

    - `values`: [batch, channels, h, w], before channels are summed.
    - `heatmap`: [batch, h, w], one number per cell.
    - `layer`: the layer that was read, if any.
    - `residual`: the fraction missing from a sum that the method promises, per picture.
    - `constants`: the fraction of that sum that biases and other constants keep, per picture.
    """

    values: Float[Tensor, "batch channels h w"]
    heatmap: Float[Tensor, "batch h w"]
    layer: str | None = None
    residual: Float[Tensor, " batch"] | None = None
    constants: Float[Tensor, " batch"] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method(ABC):
    """An attribution method; its hyperparameters are the fields of the dataclass.

    - `name`: the name that is usual in the literature, in kebab-case.
    - `question`: the question that the map answers, in one line.
    - `source`: paper, year, arXiv id.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    source: ClassVar[str]
    reads_layer: ClassVar[bool] = False  # it has a field `layer`; None means automatic
    random: ClassVar[bool] = False  # the result depends on the seed
    in_sweeps: ClassVar[bool] = True  # included in "all" and "quick"
    costly: ClassVar[bool] = False  # more than a hundred forward passes per picture

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            REGISTRY[cls.name] = cls

    @property
    @abstractmethod
    def signed(self) -> bool:
        """Whether negative values mean evidence against the target."""

    @abstractmethod
    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """Return what to record in the shared forward pass; raises NotApplicable with a reason."""

    @abstractmethod
    def attribute(self, recording: Recording) -> Attribution:
        """Compute the attribution; raises NotApplicable with the reason."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def types(cls) -> dict[str, type]:
        """Return the type of each hyperparameter: bool, int, float, str, tuple (numbers) or Words.

        None always means the default.
        """
        hints = get_type_hints(cls)
        return {f.name: _plain(hints[f.name]) for f in dataclasses.fields(cls)}

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the method's docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]


def _plain(hint: Any) -> type:
    """Return `str` for `str | None` and literals of strings, `tuple` for `tuple[float, ...]`."""
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return next(_plain(option) for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is tuple:
        return Words if get_args(hint)[0] is str else tuple
    return hint


def as_method(method: "str | Method | type[Method]", **parameters: Any) -> Method:
    """Configure a method given by name, class or instance; parameters that are None are ignored."""
    given = {k: v for k, v in parameters.items() if v is not None}
    if isinstance(method, Method):
        return _made(type(method), method.parameters | given) if given else method
    if isinstance(method, str):
        if method not in REGISTRY:
            raise Unknown("method", method, REGISTRY, hint=f"there are {', '.join(REGISTRY)}")
        method = REGISTRY[method]
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise SeewhyError(f"a method must be a name or a Method, not {short_repr(method)}")
    return _made(method, given)


def _made(cls: type[Method], parameters: dict[str, Any]) -> Method:
    types = cls.types()
    for name in parameters:
        if name not in types:
            hint = f"it has {', '.join(types)}" if types else "it has no parameters"
            raise Unknown(f"parameter of {cls.name}", name, types, hint=hint)
    given = {name: value for name, value in parameters.items() if value is not None}
    return cls(**{k: _typed(f"{cls.name}: {k}", types[k], v) for k, v in given.items()})


class Words(tuple):
    """The type of a hyperparameter that holds several strings."""


_EXPECTED = {
    Words: 'strings, such as ("layer3:17", "layer3:40")',
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    tuple: "numbers such as 0.05,0.1",
}


def _typed(where: str, expected: type, value: Any) -> Any:
    """Return the value if it has the expected type; an int is converted where float is expected."""
    if expected in (tuple, Words):
        return _row(where, expected, [value] if isinstance(value, str) else value)
    if expected is float and type(value) is int and abs(value) < sys.float_info.max:
        value = float(value)
    if type(value) is not expected:
        description = _EXPECTED.get(expected, expected.__name__)
        raise SeewhyError(f"{where} must be {description}, not {short_repr(value)}")
    if expected is float and not math.isfinite(value):
        raise SeewhyError(f"{where} must be a finite number, not {short_repr(value)}")
    if expected is int and abs(value) > LARGEST:
        raise SeewhyError(f"{where} must be at most {LARGEST}, not {short_repr(value)}")
    return value


def _row(where: str, expected: type, values: Any) -> tuple:
    """Return a tuple of numbers, or of strings if `expected` is `Words`."""
    kinds = (str,) if expected is Words else (int, float)
    if not isinstance(values, list | tuple) or not all(type(v) in kinds for v in values):
        raise SeewhyError(f"{where} must be {_EXPECTED[expected]}, not {short_repr(values)}")
    if len(values) > MOST_VALUES:
        raise SeewhyError(f"{where} must have at most {MOST_VALUES} values, not {len(values)}")
    if expected is tuple and not all(abs(value) <= sys.float_info.max for value in values):
        raise SeewhyError(f"{where} must be finite numbers, not {short_repr(values)}")
    return tuple(values)


def check_choice(what: str, value: str, choices: Sequence[str]) -> str:
    """Return the value if it is one of the choices; otherwise raise Unknown, which lists them."""
    if value not in choices:
        raise Unknown(what, value, choices, hint=f"there are {', '.join(choices)}")
    return value


def check(condition: bool, message: str) -> None:
    """Raise SeewhyError with a one-line message about a hyperparameter unless `condition` holds."""
    if not condition:
        raise SeewhyError(message)
