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
from torch.nn.parameter import is_lazy

from seewhy.errors import NotApplicable, SeewhyError, Unknown
from seewhy.images import Batch, Preparation, prepare
from seewhy.models.adapter import Choice, adapted
from seewhy.models.addresses import Address
from seewhy.models.edits import Edit, editors
from seewhy.models.failing import why_it_fails
from seewhy.models.final import LastFunction
from seewhy.models.hooks import hooked
from seewhy.models.layers import LayerGraph, trace_layers
from seewhy.models.memory_format import probes, try_formats
from seewhy.models.outputs import OUTPUTS, RAW, kind_of, logits_of
from seewhy.models.records import Record, as_record, recorded_in
from seewhy.models.session import borrowed, device_of
from seewhy.support.batch_norm import keep_layout
from seewhy.support.printable import printable
from seewhy.support.user_code import Raised, is_reported

_UNWATCHED = nullcontext()

GIVEN = "given"
MOST_CLASSES = 1_000_000  # so that an index that is far too large is refused
LONGEST_INDEX = 18  # digits
DEFAULT_SIZE = (224, 224)  # used if neither a picture nor the preparation specifies a size


class Model:
    """A network with its preprocessing, class names and layer names.

    - `net`: any `nn.Module` that maps [batch, channels, height, width] to class logits.
    - `mean`, `std`: per-channel normalisation of pixels in [0, 1], applied inside. Their number is
      that of the channels: 3 for RGB, 1 for grey, or any other for arrays and tensors.
    - `size`: the input's side, or (height, width). - `resize`: the short side before the centre
      crop to `size`; by default the crop is as large as it can be.
    - `preparation`: all of that at once: a `Preparation`, `weights.transforms()` of torchvision, a
      data configuration of timm, or an image processor of transformers.
    - `classes`: class names in the order of the logits, or a mapping index -> name.
    - `outputs`: "logits", "multi-label", "probabilities", "scores", "features" or "segmentation"
      (see `seewhy.models.outputs`); None: found out, as far as that is possible.
    - `inputs`: further inputs of the network, held fixed: a mapping from their names, or a tuple
      of those that come after the picture. Tensors whose first axis is 1 are repeated for each
      picture. - `picture`: the name of the argument that takes the picture; None: the first.
    - `output`: the output that is explained: a key, an attribute, an index, or a function of what
      the network returns; None: its "logits" or "out", or the first of a tuple.

    What is not given is taken from timm's or transformers' record on the network, if it has one.
    Without any, pixels are not normalised and pictures keep their size; `assumed` says so.

    Raises SeewhyError for parameters that do not fit.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        size: int | tuple[int, int] | None = None,
        resize: int | tuple[int, int] | None = None,
        classes: Sequence[str] | Mapping[int, str] | None = None,
        name: str | None = None,
        preparation: Any = None,
        outputs: str | None = None,
        inputs: Mapping[str, Any] | Sequence[Any] | None = None,
        picture: str | None = None,
        output: Choice | None = None,
    ):
        if not isinstance(net, nn.Module):
            raise SeewhyError(
                f"Model expects a torch.nn.Module, got {type(net).__name__}; "
                "open a named model with seewhy.open_model(name), "
                "or wrap a function with seewhy.black_box(function)"
            )
        if preparation is not None and (size is not None or resize is not None):
            raise SeewhyError("give either size and resize, or preparation, not both")
        for parameter, value in (("name", name), ("picture", picture), ("outputs", outputs)):
            if value is not None and not isinstance(value, str):
                raise SeewhyError(f"{parameter} must be a string, got {value!r}")
        if outputs is not None and outputs not in OUTPUTS:
            raise Unknown(
                "kind of outputs", outputs, OUTPUTS, hint=f"there are {', '.join(OUTPUTS)}"
            )
        network = _unwrapped(net)
        _require_values(network)
        dense = outputs == "segmentation"
        embeds = outputs == "features"
        self.net = adapted(network, inputs, picture, output, dense=dense, named=embeds)
        self.name = name or type(network).__name__
        carried = recorded_in(network)
        given = as_record(preparation) if preparation is not None else Record()
        mean, std, self.normalised_as = _normalisation(mean, std, given, carried)
        self.assumed = _assumed(self.normalised_as, carried)
        channels = len(mean) if _is_listed(mean) else None  # type: ignore[arg-type]
        self.preparation = given.preparation or _preparation(size, resize, channels, carried)
        channels = self.preparation.channels
        with torch.inference_mode(False):  # autograd cannot save inference tensors
            self.mean = _per_channel(mean, 0.0, channels, "mean")
            self.std = _per_channel(std, 1.0, channels, "std")
        if not bool((self.std > 0).all()):
            raise SeewhyError(f"std must be positive, got {self.std.flatten().tolist()}")
        named = carried.classes if classes is None else classes
        self.classes = None if named is None else _class_names(named)
        self._outputs = outputs or carried.outputs
        self.edits: list[Sequence[tuple[Address, Edit]]] = []  # active edits; see `seewhy.edited`
        self.ends_in: str | None = None  # a last softmax or sigmoid, once it has run
        self.mixes_pictures = False  # whether pictures of a batch change each other's logits
        self._memory_format: torch.memory_format | None = None
        self._layer_graphs: dict[tuple[int, ...], LayerGraph] = {}

    @property
    def outputs(self) -> str:
        """What the network puts out, one of `outputs.OUTPUTS`: as given, recorded or found."""
        return self._outputs or "logits"

    @property
    def raw(self) -> bool:
        """Whether no probabilities are made of the outputs."""
        return self.outputs in RAW

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
            return logits_of(self._ran(net, normal), count)
        with LastFunction() as last:
            output = self._ran(net, normal)
        before = last.before(output)
        return logits_of(before[1] if before else output, count)

    def _ran(self, net: nn.Module, normal: Tensor) -> Any:
        """What the network puts out; why it fails, in one line, if that is not our fault."""
        try:
            return net(normal)
        except Raised as error:
            if is_reported(error):
                raise
            theirs = why_it_fails(self.name, net, normal, error)
            if theirs is None:
                raise
            raise theirs from error

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
            output = self._ran(self.net, self._normalised(pixels, form))
        before = last.before(output) if self._outputs in (None, "logits", "multi-label") else None
        ends_in, output = before or (None, output)
        logits = logits_of(output, len(pixels))
        if self._outputs is None:
            self._outputs = kind_of(self.net, logits, ends_in)
        return logits, ends_in

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
        too_long = isinstance(target, str) and len(target) > LONGEST_INDEX
        index = count if too_long else int(target)
        if not 0 <= index < count:
            raise SeewhyError(
                f"class {target} is out of range: {self.name} has {count} classes, 0 to {count - 1}"
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
                f"got {tuple(pixels.shape)}; give mean and std one number for each channel that "
                "the network takes, or Preparation(channels=...)"
            )
        pixels = pixels.to(self.device, self.dtype)
        normal = (pixels - self.mean.to(pixels)) / self.std.to(pixels)
        return normal.contiguous(memory_format=layout or torch.contiguous_format)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.preparation.size)) if self.preparation.size else "any size"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return printable(f"Model({self.name}, {size}{classes}, {self.device})")


def _require_values(network: nn.Module) -> None:
    """Raise SeewhyError if parameters or buffers have no values, or cannot have gradients."""
    tensors = [*network.parameters(), *network.buffers()]
    if any(is_lazy(tensor) for tensor in tensors):
        raise SeewhyError("the network has lazy layers; run it once on a picture first")
    if any(tensor.is_meta for tensor in tensors):
        raise SeewhyError(
            "the network has parameters without values (on the device meta); create it on another "
            "device, and load its weights"
        )
    if any(p.is_inference() for p in network.parameters()):
        raise SeewhyError(
            "the network was created inside torch.inference_mode(), so it has no gradients; "
            "create or load it outside"
        )


def _unwrapped(net: nn.Module) -> nn.Module:
    """Return the network inside torch.compile, DataParallel or DistributedDataParallel."""
    net = getattr(net, "_orig_mod", net)
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return net.module if isinstance(net, parallel) else net


def _normalisation(
    mean: Any, std: Any, given: Record, carried: Record
) -> tuple[Any, Any, str | None]:
    """Return mean and std, and where they come from; None if nothing is known about them."""
    if mean is not None or std is not None:
        return mean, std, GIVEN
    if given.preparation is not None:  # a Preparation says nothing about normalisation
        return given.mean, given.std, None if given.mean is None else GIVEN
    return carried.mean, carried.std, None if carried.mean is None else carried.source


def _assumed(normalised_as: str | None, carried: Record) -> tuple[str, ...]:
    if normalised_as is None:
        hint = ", preparation=processor" if "transformers" in carried.source else ""
        return (
            "nothing is known about the normalisation of pixels, so the network gets them in "
            f"[0, 1]; give seewhy.Model mean and std{hint} (mean=0, std=1 if that is right)",
        )
    return () if normalised_as == GIVEN else (f"pixels are normalised as in {normalised_as}",)


def _preparation(
    size: int | tuple[int, int] | None,
    resize: int | tuple[int, int] | None,
    channels: int | None,
    carried: Record,
) -> Preparation:
    recorded = carried.preparation
    if size is None and resize is None and recorded and channels in (None, recorded.channels):
        return recorded
    channels = channels or (recorded.channels if recorded else 3)
    if size is None:
        return Preparation(resize=resize, channels=channels)
    sides = (size, size) if isinstance(size, int) else size
    if not (isinstance(sides, Sequence) and [type(s) for s in sides] == [int, int]):
        raise SeewhyError(f"size must be an integer or (height, width), got {size!r}")
    # The picture is resized to cover the input, then cropped to it.
    return Preparation((sides[0], sides[1]), resize or max(sides), channels)


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
        if max(by_index, default=0) >= MOST_CLASSES:
            raise SeewhyError(f"classes must have indices below {MOST_CLASSES}")
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
