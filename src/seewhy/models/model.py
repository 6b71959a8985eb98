"""`Model`: maps RGB pixels in [0, 1] to logits.

Normalisation happens inside, so that all code that edits or draws pictures works in pixel space.
The wrapped network is never changed: training mode, gradients, hooks, parameters and buffers are
restored after every call, also after an exception.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from seewhy.errors import NotApplicable, SeewhyError, Unknown
from seewhy.images import Batch, Preparation, prepare
from seewhy.models.addresses import Address
from seewhy.models.edits import Edit, editors
from seewhy.models.final import LastFunction
from seewhy.models.hooks import hooked
from seewhy.models.layers import LayerGraph, trace_layers
from seewhy.models.memory_format import probes, try_formats
from seewhy.models.session import borrowed, device_of
from seewhy.support.batch_norm import keep_layout

_UNWATCHED = nullcontext()

OUTPUTS = ("logits", "scores")
DEFAULT_SIZE = (224, 224)  # used if neither a picture nor the preparation specifies a size


class Model:
    """A network with its preprocessing, class names and layer names.

    - `net`: any `nn.Module` that maps [batch, channels, height, width] to class logits.
    - `mean`, `std`: per-channel normalisation of pixels in [0, 1], applied inside; none by default.
    - `size`: the input's side, or (height, width): pictures are resized (short side) and centre
      cropped to it. By default pictures keep their size; use `preparation` for other settings.
    - `classes`: class names in the order of the logits, or a mapping index -> name.
    - `outputs`: "logits" of classes (of a network that ends in a softmax, its input), or "scores"
      that are used as they are: a regression, a ranking, the output of a program. No probabilities
      are made of scores.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        size: int | tuple[int, int] | None = None,
        classes: Sequence[str] | Mapping[int, str] | None = None,
        name: str | None = None,
        preparation: Preparation | None = None,
        outputs: str = "logits",
    ):
        if not isinstance(net, nn.Module):
            raise SeewhyError(
                f"Model expects a torch.nn.Module, got {type(net).__name__}; "
                "open a named model with seewhy.open_model(name), "
                "or wrap a function with seewhy.black_box(function)"
            )
        if size is not None and preparation is not None:
            raise SeewhyError("give either size or preparation, not both")
        if outputs not in OUTPUTS:
            raise Unknown(
                "kind of outputs", outputs, OUTPUTS, hint=f"there are {', '.join(OUTPUTS)}"
            )
        self.net = _unwrapped(net)
        if any(isinstance(p, UninitializedParameter) for p in self.net.parameters()):
            raise SeewhyError("the network has lazy layers; run it once on a picture first")
        if any(p.is_inference() for p in self.net.parameters()):
            raise SeewhyError(
                "the network was created inside torch.inference_mode(), so it has no gradients; "
                "create or load it outside"
            )
        self.name = name or type(self.net).__name__
        self.preparation = preparation or _preparation(size, mean)
        channels = self.preparation.channels
        with torch.inference_mode(False):  # autograd cannot save inference tensors
            self.mean = _per_channel(mean, 0.0, channels, "mean")
            self.std = _per_channel(std, 1.0, channels, "std")
        if not bool((self.std > 0).all()):
            raise SeewhyError(f"std must be positive, got {self.std.flatten().tolist()}")
        self.classes = None if classes is None else _class_names(classes)
        self.outputs = outputs
        self.edits: list[Sequence[tuple[Address, Edit]]] = []  # active edits; see `seewhy.edited`
        self.ends_in: str | None = None  # a last softmax or sigmoid, once it has run
        self.mixes_pictures = False  # whether pictures of a batch change each other's logits
        self._memory_format: torch.memory_format | None = None
        self._layer_graphs: dict[tuple[int, ...], LayerGraph] = {}

    @property
    def device(self) -> torch.device:
        """The device of the network's parameters."""
        return device_of(self.net)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the network's parameters."""
        tensors = chain(self.net.parameters(), self.net.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)

    def prepare(self, things: Any) -> Batch:
        """Prepare pictures of any kind (see `seewhy.images`) as a batch for the network."""
        return prepare(things, self.preparation)

    def __call__(
        self, pixels: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return logits for pixels in [0, 1], differentiable if `pixels` require gradients."""
        with borrowed(self.net):
            return self.forward(pixels)

    def forward(
        self,
        pixels: Float[Tensor, "batch channels height width"],
        watched: AbstractContextManager = _UNWATCHED,
    ) -> Float[Tensor, "batch classes"]:
        """Run a forward pass with the active edits, for use inside `session.borrowed`.

        The context manager `watched` is active while the network runs, but not during the
        normalisation of the pixels.
        """
        if not self.edits:
            return self.forward_unedited(pixels, watched)
        hooks = [editors(self.layer_graph(pixels), edits) for edits in self.edits]
        with ExitStack() as stack:
            for layer_hooks in reversed(hooks):
                stack.enter_context(hooked(self.net, layer_hooks, before_others=True))
            return self.forward_unedited(pixels, watched)

    def forward_unedited(
        self,
        pixels: Float[Tensor, "batch channels height width"],
        watched: AbstractContextManager = _UNWATCHED,
    ) -> Float[Tensor, "batch classes"]:
        """Run a forward pass without any edits, for use inside `session.borrowed`."""
        self.choose_memory_format(pixels)
        normal = self.normalised(pixels)
        with watched:
            return keep_layout(self.logits(self.net, normal, len(pixels)))

    def logits(self, net: nn.Module, normal: Tensor, count: int) -> Float[Tensor, "batch classes"]:
        """Run `net`, the network or an equivalent of it, on normalised pixels.

        Returns what it puts out for `count` pictures, or the input of a softmax that it ends in.
        """
        if self.ends_in is None:
            return logits_of(net(normal), count)
        with LastFunction() as last:
            output = net(normal)
        before = last.before(output)
        return logits_of(before[1] if before else output, count)

    def choose_memory_format(self, pixels: Tensor) -> None:
        """Choose the memory format once, before hooks or a tape record the network.

        Channels-last makes convolutions up to twice as fast. It is not used for a network whose
        logits or gradients depend on the memory format; see `models.memory_format`.
        """
        if self._memory_format is not None:
            return
        with borrowed(self.net):
            trial = try_formats(self._run_in, probes(pixels.shape[1:], pixels))
        self.ends_in, self.mixes_pictures = trial.ends_in, trial.mixes_pictures
        self._memory_format = trial.memory_format

    def _run_in(self, pixels: Tensor, form: torch.memory_format) -> tuple[Tensor, str | None]:
        """Return the logits in a memory format, and the softmax or sigmoid that comes after."""
        with LastFunction() as last:
            output = self.net(self._normalised(pixels, form))
        before = last.before(output) if self.outputs == "logits" else None
        if before is None:
            return logits_of(output, len(pixels)), None
        return logits_of(before[1], len(pixels)), before[0]

    @staticmethod
    def _probe(pixels: Tensor) -> Tensor:
        """Return the first picture, or a grey one if there is none."""
        grey = torch.full((1, *pixels.shape[1:]), 0.5, device=pixels.device)
        return pixels[:1].detach() if len(pixels) else grey

    def layer_graph(self, pixels: Tensor | None = None) -> LayerGraph:
        """Return the layers for pictures of this size; traced by one forward pass, then cached."""
        if pixels is None:
            size = self.preparation.size or DEFAULT_SIZE
            pixels = torch.full((1, self.preparation.channels, *size), 0.5)
        size = tuple(pixels.shape[1:])
        if size not in self._layer_graphs:
            self._layer_graphs[size] = trace_layers(self, self._probe(pixels))
        return self._layer_graphs[size]

    def find_layer(self, pixels: Tensor | None = None) -> str:
        """Return the name of the deepest layer with a spatial grid that the logits depend on."""
        layer = self.layer_graph(pixels).spatial
        if layer is None:
            raise NotApplicable(
                f"no layer of {self.name} keeps the picture's rows and columns; name one "
                "(layer=, or --layer)"
            )
        return layer

    def class_index(self, target: int | str, count: int) -> int:
        """Return the index of a class given by index or name; raises SeewhyError if there is none.

        `count` is the number of classes.
        """
        if isinstance(target, str) and (target in (self.classes or ()) or not _is_number(target)):
            if not self.classes:
                raise SeewhyError(f"{self.name} has no class names; give class {target!r} by index")
            return _index_of(target, self.classes)
        if not isinstance(target, str | int | np.integer):
            raise SeewhyError(f"a class must be an index or a name, got {target!r}")
        index = int(target)
        if not 0 <= index < count:
            raise SeewhyError(
                f"class {index} is out of range: {self.name} has {count} classes, 0 to {count - 1}"
            )
        return index

    def normalised(
        self, pixels: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise pixels in [0, 1], in the memory format that was chosen, if any."""
        return self._normalised(pixels, self._memory_format)

    def laid_out(self, normal: Tensor) -> Tensor:
        """Convert normalised pixels to the memory format that was chosen."""
        return normal.contiguous(memory_format=self._memory_format or torch.contiguous_format)

    def _normalised(self, pixels: Tensor, layout: torch.memory_format | None) -> Tensor:
        if not pixels.is_floating_point():
            raise SeewhyError(f"pixels must be floats in [0, 1], got {pixels.dtype}; divide by 255")
        if pixels.ndim != 4 or pixels.shape[1] != self.preparation.channels:
            raise SeewhyError(
                f"{self.name} expects pixels [batch, {self.preparation.channels}, height, width], "
                f"got {tuple(pixels.shape)}; for a grey model, set mean=[m] or "
                "Preparation(channels=1)"
            )
        pixels = pixels.to(self.device, self.dtype)
        normal = (pixels - self.mean.to(pixels)) / self.std.to(pixels)
        return normal.contiguous(memory_format=layout or torch.contiguous_format)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.preparation.size)) if self.preparation.size else "any size"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"Model({self.name}, {size}{classes}, {self.device})"


def _unwrapped(net: nn.Module) -> nn.Module:
    """Return the network inside torch.compile, DataParallel or DistributedDataParallel."""
    net = getattr(net, "_orig_mod", net)
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return net.module if isinstance(net, parallel) else net


def _preparation(
    size: int | tuple[int, int] | None, mean: float | Sequence[float] | None
) -> Preparation:
    channels = 1 if _is_listed(mean) and len(mean) == 1 else 3  # type: ignore[arg-type]
    if size is None:
        return Preparation(channels=channels)
    sides = (size, size) if isinstance(size, int) else size
    if not (isinstance(sides, Sequence) and [type(s) for s in sides] == [int, int]):
        raise SeewhyError(f"size must be an integer or (height, width), got {size!r}")
    # The picture is resized to cover the input, then cropped to it.
    return Preparation(size=(sides[0], sides[1]), resize=max(sides), channels=channels)


def _per_channel(
    values: float | Sequence[float] | None, default: float, channels: int, name: str
) -> Float[Tensor, "1 channels 1 1"]:
    as_list = [default if values is None else values] if not _is_listed(values) else values
    try:
        numbers = torch.tensor([float(v) for v in as_list])  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise SeewhyError(f"{name} must be one number per channel, got {values!r}") from None
    if len(numbers) not in (1, channels):
        raise SeewhyError(f"{name} has {len(numbers)} values, but the model {channels} channels")
    if not bool(numbers.isfinite().all()):
        raise SeewhyError(f"{name} must be finite, got {values!r}")
    return numbers.expand(channels).clone().view(1, channels, 1, 1)


def _is_listed(values: Any) -> bool:
    return isinstance(values, Sequence | Tensor | np.ndarray) and not isinstance(values, str)


def _class_names(classes: Any) -> list[str]:
    """Return names in the order of the logits, from a sequence or a mapping index -> name."""
    if isinstance(classes, Mapping):
        try:
            by_index = {int(index): str(name) for index, name in classes.items()}
        except (TypeError, ValueError):
            raise SeewhyError("classes must map each index to a name") from None
        if min(by_index, default=0) < 0:
            raise SeewhyError(f"classes must not have negative indices, got {min(by_index)}")
        return [by_index.get(i, f"class {i}") for i in range(max(by_index, default=-1) + 1)]
    if not isinstance(classes, Sequence) or isinstance(classes, str):
        raise SeewhyError(f"classes must be a sequence of names or a mapping, got {classes!r}")
    return [str(c) for c in classes]


def _index_of(name: str, classes: list[str]) -> int:
    wanted = name.lower().replace("_", " ").strip()
    names = [c.lower().replace("_", " ") for c in classes]
    for matches in (lambda c: c == wanted, lambda c: wanted in [s.strip() for s in c.split(",")]):
        indices = [i for i, c in enumerate(names) if matches(c)]
        if indices:
            return indices[0]
    raise Unknown(
        "class", name, classes, hint=f"the model has {len(classes)} classes, such as {classes[0]!r}"
    )


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def logits_of(output: Any, batch: int) -> Float[Tensor, "batch classes"]:
    """Return the logits in the output of a classifier for `batch` pictures.

    Raises SeewhyError if it holds no logits of shape [batch, classes].
    """
    logits = getattr(output, "logits", output)
    if isinstance(logits, Mapping):
        logits = logits.get("logits", logits.get("out"))
    if isinstance(logits, tuple | list) and logits:
        logits = logits[0]
    if isinstance(logits, Tensor) and logits.ndim == 1:
        # One logit for each picture, or one picture whose batch axis was squeezed.
        logits = logits[None] if batch == 1 else logits[:, None]
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != batch:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise SeewhyError(
            f"the network returned {got} for {batch} pictures; expected class logits of shape "
            "[batch, classes]; wrap it in a module that returns those"
        )
    return logits
