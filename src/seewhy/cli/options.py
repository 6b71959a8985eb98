"""Options that several commands share, as dataclasses that cyclopts spreads out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from seewhy.model import Model
from seewhy.sources import open_model


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """Which model, and where it runs."""

    model: Annotated[str, Parameter(name=["--model", "-m"])] = "scenes"
    "scenes, torchvision/NAME, timm/NAME, hf/NAME or package.module:function."

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


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """What is explained, and how it is computed."""

    target: Annotated[str | None, Parameter(name=["--target", "-t"])] = None
    "The class to explain, by index or name; by default the most probable one."

    layer: str | None = None
    "The layer for methods that read one; by default found and reported."

    precision: str = "full"
    "full, or fast: bfloat16."

    seed: int = 0
    "For methods that draw random numbers."

    batch_size: int = 16
    "The most pictures in one forward."

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False
    "No progress bar and no summary."

    json: bool = False
    "Print results as JSON instead of a summary."

    @property
    def keywords(self) -> dict[str, Any]:
        """What `explain` and `compare` take under the same names."""
        names = ("target", "layer", "precision", "seed", "batch_size")
        return {name: getattr(self, name) for name in names}


MODEL = ModelOptions()
RUN = RunOptions()
