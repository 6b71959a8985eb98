"""What an attribution method is, and the registry of all of them.

A method is a frozen dataclass whose fields are its hyperparameters. Defining it is enough:
it then appears in `seewhy.methods()`, on the command line, in the documentation and in the
contract suite.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from jaxtyping import Float
from torch import Tensor

from seewhy.engine.recording import Recording, Request
from seewhy.errors import SeewhyError, Unknown
from seewhy.models.model import Model

REGISTRY: dict[str, type["Method"]] = {}


@dataclass(frozen=True)
class Attribution:
    """What a method found out, on its own grid.

    - `values`: [batch, channels, h, w], before channels are summed up.
    - `heatmap`: [batch, h, w], one number a cell.
    - `layer`: the layer that was read, if any.
    - `residual`: what is missing from a sum that the method promises, as a share, per picture.
    - `constants`: what biases and other constants keep of that sum, as a share, per picture.
    """

    values: Float[Tensor, "batch channels h w"]
    heatmap: Float[Tensor, "batch h w"]
    layer: str | None = None
    residual: Float[Tensor, " batch"] | None = None
    constants: Float[Tensor, " batch"] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method(ABC):
    """One way to ask what a model looks at; hyperparameters are fields.

    - `name`: kebab-case of the field's standard name.
    - `question`: in one line, what the map answers.
    - `source`: paper, year, arXiv id.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    source: ClassVar[str]
    reads_layer: ClassVar[bool] = False  # its field `layer` is found automatically if None
    random: ClassVar[bool] = False  # its result depends on the seed
    in_sweeps: ClassVar[bool] = True  # "all" and "quick" include it
    costly: ClassVar[bool] = False  # more than a hundred forwards a picture

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            REGISTRY[cls.name] = cls

    @property
    @abstractmethod
    def signed(self) -> bool:
        """Whether negative values mean evidence against the target."""

    @abstractmethod
    def requires(self, model: Model, pixels: Tensor) -> list[Request]:
        """What to record of the shared forward; raises NotApplicable with the reason."""

    @abstractmethod
    def attribute(self, recording: Recording) -> Attribution:
        """The attribution; raises NotApplicable with the reason."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def types(cls) -> dict[str, type]:
        """The type of each hyperparameter: bool, int, float, str, tuple (of numbers), or `Words`.

        None always means the default.
        """
        hints = get_type_hints(cls)
        return {f.name: _plain(hints[f.name]) for f in dataclasses.fields(cls)}

    @classmethod
    def summary(cls) -> str:
        """The first line of the method's documentation."""
        return (cls.__doc__ or "").strip().splitlines()[0]


def _plain(hint: Any) -> type:
    """`str` of `str | None` and of literals, `tuple` of `tuple[float, ...]`."""
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return next(_plain(option) for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is tuple:
        return Words if get_args(hint)[0] is str else tuple
    return hint


def as_method(method: "str | Method | type[Method]", **parameters: Any) -> Method:
    """A method from its name, class or instance; parameters that are None keep their default."""
    given = {k: v for k, v in parameters.items() if v is not None}
    if isinstance(method, Method):
        return _made(type(method), method.parameters | given) if given else method
    if isinstance(method, str):
        if method not in REGISTRY:
            raise Unknown("method", method, REGISTRY, hint=f"there are {', '.join(REGISTRY)}")
        method = REGISTRY[method]
    return _made(method, given)


def _made(cls: type[Method], parameters: dict[str, Any]) -> Method:
    types = cls.types()
    for name in parameters:
        if name not in types:
            has = f"it has {', '.join(types)}" if types else "it has none"
            raise Unknown(f"parameter of {cls.name}", name, types, hint=has)
    given = {name: value for name, value in parameters.items() if value is not None}
    return cls(**{k: _typed(f"{cls.name}: {k}", types[k], v) for k, v in given.items()})


class Words(tuple):
    """The type of a hyperparameter that holds several words."""


_WORDS = {
    Words: 'words, such as ("layer3:17", "layer3:40")',
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    tuple: "numbers such as 0.05,0.1",
}


def _typed(where: str, expected: type, value: Any) -> Any:
    """The value if it is of the expected type; a whole number will do for a number."""
    if expected in (tuple, Words):
        return _row(where, expected, [value] if isinstance(value, str) else value)
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected:
        raise SeewhyError(f"{where} is {_WORDS.get(expected, expected.__name__)}, not {value!r}")
    if expected is float and not math.isfinite(value):
        raise SeewhyError(f"{where} is a finite number, not {value!r}")
    return value


def _row(where: str, expected: type, values: Any) -> tuple:
    """Several numbers, or several words."""
    kinds = (str,) if expected is Words else (int, float)
    if not isinstance(values, list | tuple) or not all(type(v) in kinds for v in values):
        raise SeewhyError(f"{where} is {_WORDS[expected]}, not {values!r}")
    if expected is tuple and not all(map(math.isfinite, values)):
        raise SeewhyError(f"{where} holds finite numbers, not {values!r}")
    return tuple(values)


def check_choice(what: str, value: str, choices: Sequence[str]) -> str:
    """The value if it is one of the choices, else raises Unknown, which names them."""
    if value not in choices:
        raise Unknown(what, value, choices, hint=f"there are {', '.join(choices)}")
    return value


def check(condition: bool, message: str) -> None:
    """Refuse hyperparameters that make no sense, in one line."""
    if not condition:
        raise SeewhyError(message)
