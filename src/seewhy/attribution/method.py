"""What an attribution method is, and the registry of all of them.

A method is a frozen dataclass whose fields are its hyperparameters. Defining it is enough:
it then appears in `seewhy.methods()`, on the command line, in the documentation and in the
contract suite.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

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
    """

    values: Float[Tensor, "batch channels h w"]
    heatmap: Float[Tensor, "batch h w"]
    layer: str | None = None
    residual: Float[Tensor, " batch"] | None = None
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
    def summary(cls) -> str:
        """The first line of the method's documentation."""
        return (cls.__doc__ or "").strip().splitlines()[0]


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
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    for name in parameters:
        if name not in defaults:
            has = f"it has {', '.join(defaults)}" if defaults else "it has none"
            raise Unknown(f"parameter of {cls.name}", name, defaults, hint=has)
    typed = {k: _typed(f"{cls.name}: {k}", defaults[k], v) for k, v in parameters.items()}
    return cls(**typed)


def _typed(where: str, default: Any, value: Any) -> Any:
    """The value if it is of the default's type; a whole number will do for a number."""
    expected = str if default is None else type(default)
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected and value is not default:
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
        raise SeewhyError(f"{where} is {words.get(expected, expected.__name__)}, not {value!r}")
    if expected is float and not math.isfinite(value):
        raise SeewhyError(f"{where} is a finite number, not {value!r}")
    return value


def check(condition: bool, message: str) -> None:
    """Refuse hyperparameters that make no sense, in one line."""
    if not condition:
        raise SeewhyError(message)
