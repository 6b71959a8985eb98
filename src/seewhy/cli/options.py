"""Options that several commands share, as dataclasses that cyclopts spreads out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from seewhy.errors import SeewhyError
from seewhy.models.model import Model
from seewhy.sources import open_model
from seewhy.support.settings import LARGEST_SEED, Settings
from seewhy.targets.terms import TargetLike, difference, each

# Help shows the groups in this order, after a command's own options.
MODEL_GROUP = Group("Model", sort_key=1)
RUN_GROUP = Group("Run", sort_key=2)
SWITCH = Parameter(negative=(), show_default=False)


@Parameter(name="*", group=MODEL_GROUP)
@dataclass(frozen=True)
class ModelOptions:
    """Which model, and where it runs."""

    model: Annotated[str, Parameter(name=["--model", "-m"])] = "scenes"
    """scenes, efficientnet-lite0, torchvision/NAME, timm/NAME, hf/NAME or
    package.module:function."""

    weights: Annotated[str | None, Parameter(name=["--weights", "-w"])] = None
    "A .safetensors or .pth file, or random; by default the model's own, downloaded if need be."

    classes: Path | None = None
    "Class names: a .txt file, one a line, or a .json file."

    device: str = "cpu"
    "cpu, cuda, cuda:1 or mps."

    def open(self) -> Model:
        """The model, ready to run."""
        classes = None if self.classes is None else str(self.classes)
        return open_model(self.model, self.weights, device=self.device, classes=classes)


@Parameter(name="*", group=RUN_GROUP)
@dataclass(frozen=True)
class RunOptions:
    """What is explained, and how it is computed.

    Raises `SeewhyError` for what no run can have, before a model is opened.
    """

    target: Annotated[
        tuple[str, ...], Parameter(name=["--target", "-t"], negative=(), show_default=False)
    ] = ()
    """What to explain: a class by index or name, by default the most probable one; a hidden unit
    such as layer3:17; or a sum such as "dog - 0.5*layer3:17". May be given several times."""

    against: str | None = None
    "A class: explain why the target rather than this one."

    layer: str | None = None
    "The layer for methods that read one; by default found and reported."

    precision: str = "full"
    "full, or fast: bfloat16."

    seed: int = 0
    "For methods that draw random numbers."

    batch_size: int | None = None
    "The most pictures in one forward; by default as many as the device likes best."

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"]), SWITCH] = False
    "No progress bar and no summary."

    json: Annotated[bool, SWITCH] = False
    "Print results as JSON instead of a summary."

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise SeewhyError(f"--batch-size is at least 1, not {self.batch_size}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise SeewhyError(f"--seed is from 0 to {LARGEST_SEED}, not {self.seed}")
        if self.against is not None and not self.target:
            raise SeewhyError("--against needs a --target that it is compared with")
        Settings(self.seed, self.precision, self.batch_size)  # knows the rest

    @property
    def keywords(self) -> dict[str, Any]:
        """What `explain` and `compare` take under the same names; the layer is the method's."""
        names = ("precision", "seed", "batch_size")
        return {"target": self.asked} | {name: getattr(self, name) for name in names}

    @property
    def asked(self) -> TargetLike:
        """The target that `explain` and `compare` take."""
        if not self.target:
            return None
        other = self.against
        asked = [one if other is None else difference(one, other) for one in self.target]
        return asked[0] if len(asked) == 1 else each(*asked)


MODEL = ModelOptions()
RUN = RunOptions()
