"""Options that several commands share: dataclasses whose fields become options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from seewhy.errors import SeewhyError
from seewhy.models.model import Model
from seewhy.results import SUFFIXES
from seewhy.sources import open_model
from seewhy.support.settings import LARGEST_SEED, Settings
from seewhy.targets.terms import TargetLike, difference, each

# Help shows the groups in this order, after a command's own options.
OUTPUT_GROUP = Group("Output", sort_key=0)
TARGET_GROUP = Group("Target", sort_key=1)
MODEL_GROUP = Group("Model", sort_key=2)
RUN_GROUP = Group("Run", sort_key=3)
SWITCH = Parameter(negative=(), show_default=False)


@Parameter(name="*", group=OUTPUT_GROUP)
@dataclass(frozen=True)
class OutputOptions:
    """Where the results go. Raises `SeewhyError` for a format that does not exist."""

    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None
    """The file to write, whose suffix selects the format; or a folder, created if needed, for one
    file per picture. By default a file in the current folder, such as dog.grad-cam.png."""

    format_: Annotated[str | None, Parameter(name="--format", show_default=False)] = None
    """The format where --output names no file: png, jpg, svg, pdf, html, json, npz or safetensors.
    The default is png (compare: html)."""

    resume: Annotated[bool, SWITCH] = False
    """Continue an earlier run into the same folder: pictures are skipped whose result is there and
    was made with the same picture, model, settings and versions."""

    def __post_init__(self) -> None:
        if self.suffix not in SUFFIXES:
            valid = ", ".join(s.lstrip(".") for s in SUFFIXES)
            raise SeewhyError(f"--format must be one of {valid}, not {self.suffix.lstrip('.')!r}")

    @property
    def suffix(self) -> str:
        """The suffix of files whose names are made."""
        return f".{(self.format_ or 'png').lstrip('.').lower()}"


@Parameter(name="*", group=MODEL_GROUP)
@dataclass(frozen=True)
class ModelOptions:
    """Which model to open, and on which device it runs."""

    model: Annotated[str, Parameter(name=["--model", "-m"])] = "scenes"
    """scenes, efficientnet-lite0, torchvision/NAME, timm/NAME, hf/NAME or
    package.module:function."""

    weights: Annotated[str | None, Parameter(name=["--weights", "-w"])] = None
    "A .safetensors or .pth file, or random; by default the model's weights, downloaded if needed."

    classes: Path | None = None
    "Class names: a .txt file with one name per line, or a .json file."

    device: str = "cpu"
    "cpu, cuda, cuda:1 or mps."

    def open(self) -> Model:
        """Open the model on its device."""
        classes = None if self.classes is None else str(self.classes)
        return open_model(self.model, self.weights, device=self.device, classes=classes)


@Parameter(name="*", group=TARGET_GROUP)
@dataclass(frozen=True)
class TargetOptions:
    """What to explain. Raises `SeewhyError` when --against has no --target."""

    target: Annotated[
        tuple[str, ...], Parameter(name=["--target", "-t"], negative=(), show_default=False)
    ] = ()
    """What to explain: a class by index or name, by default the most probable one; a hidden unit
    such as layer3:17; or a sum such as "dog - 0.5*layer3:17". May be repeated."""

    against: str | None = None
    "A class: explain why the model prefers the target to this class."

    def __post_init__(self) -> None:
        if self.against is not None and not self.target:
            raise SeewhyError("--against needs a --target to compare with")

    @property
    def value(self) -> TargetLike:
        """The target in the form that `explain` and `compare` take."""
        if not self.target:
            return None
        terms = [
            name if self.against is None else difference(name, self.against) for name in self.target
        ]
        return terms[0] if len(terms) == 1 else each(*terms)


@Parameter(name="*", group=RUN_GROUP)
@dataclass(frozen=True)
class RunOptions:
    """How to compute and print the results.

    Raises `SeewhyError` for invalid values before any model is opened.
    """

    precision: str = "full"
    "full, or fast to compute in bfloat16."

    seed: int = 0
    "Random seed, for methods that use random numbers."

    batch_size: int | None = None
    "Maximum number of pictures in one forward pass; the default depends on the device."

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"]), SWITCH] = False
    "Print no progress bar and no summary."

    json: Annotated[bool, SWITCH] = False
    "Print results as JSON instead of a summary."

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise SeewhyError(f"--batch-size must be at least 1, not {self.batch_size}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise SeewhyError(f"--seed must be from 0 to {LARGEST_SEED}, not {self.seed}")
        Settings(self.seed, self.precision, self.batch_size)  # checks the precision

    @property
    def keywords(self) -> dict[str, Any]:
        """The options that `explain` and `compare` take under the same names."""
        return {name: getattr(self, name) for name in ("precision", "seed", "batch_size")}


OUTPUT = OutputOptions()
MODEL = ModelOptions()
TARGET = TargetOptions()
RUN = RunOptions()

# For commands that explain a single target, and for those that name their own output file.
OneTarget = Annotated[str | None, Parameter(name=["--target", "-t"], group=TARGET_GROUP)]
Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
