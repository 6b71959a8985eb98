"""`seewhy visualize`: pictures that activate units, directions or classes most."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.jobs import pictures_of
from seewhy.cli.options import (
    MODEL,
    OUTPUT,
    RUN,
    SWITCH,
    ModelOptions,
    OutputOptions,
    RunOptions,
)
from seewhy.cli.outputs import (
    check_suffix,
    check_writable,
    harmless_name,
    make_folder,
    unless_left_empty,
)
from seewhy.cli.printing import say, say_json, warn, wrote_file
from seewhy.cli.progress import progress
from seewhy.cli.running import Tell, manifest_of, within
from seewhy.errors import SeewhyError
from seewhy.models.addresses import Address
from seewhy.models.model import Model
from seewhy.results import SUFFIXES
from seewhy.sources import open_model
from seewhy.synthesis.visualization import Visualization, beside_photographs, joined
from seewhy.synthesis.visualization import visualize as maximise

TOGETHER = 16  # targets in one file of a folder: what an interrupted run loses at most

Make = Callable[[Sequence[str], Tell], Visualization]


def visualize(
    targets: Annotated[list[str], Parameter(consume_multiple=True, negative=())] = [],  # noqa: B006
    /,
    *,
    layer: str | None = None,
    channels: str | None = None,
    images: Path | None = None,
    judge: str | None = None,
    size: int | None = None,
    steps: int = 256,
    restarts: int = 1,
    parametrisation: str = "fourier",
    transforms: str | None = None,
    transparent: Annotated[bool, SWITCH] = False,
    start: Path | None = None,
    nearness: float = 0.0,
    to: OutputOptions = OUTPUT,
    model: ModelOptions = MODEL,
    run: RunOptions = RUN,
) -> int:
    """Make pictures that activate a unit, a direction or a class most, and measure what they mean.

    Parameters
    ----------
    targets
        Units such as layer3:17, classes by name or index, sums such as "layer3:17 - 0.5*layer3:4",
        or "energy of layer3"; one picture for each.
    layer
        Visualise every channel of this layer, or those that --channels names.
    channels
        Channels of the layer, such as 0-63 or 3,17,40.
    images
        A folder of photographs: says how many activate the unit less than its picture does.
    judge
        Another model with the same classes, which is asked whether it sees the class.
    size
        Height and width of the pictures; by default 128, for classes that of the model's input.
    steps
        The number of optimisation steps.
    restarts
        Pictures of each target, from different seeds.
    parametrisation
        fourier, phase (with the magnitudes of natural pictures) or pixels.
    transforms
        robust (jitter, scale, rotation; the default for units), strong (the default for classes),
        crops or none.
    transparent
        Add an alpha channel: what does not matter to the unit becomes transparent.
    start
        A photograph to start from; with --nearness it is accentuated.
    nearness
        The weight of the squared distance from the photograph.
    """
    among = None if images is None else pictures_of([images])
    settings = {
        "size": size, "steps": steps, "restarts": restarts, "parametrisation": parametrisation,
        "transforms": transforms, "transparent": transparent, "start": start and str(start),
        "nearness": nearness, "judge": judge,
    }  # fmt: skip
    if not targets and layer is None:
        raise SeewhyError("name a target, such as layer3:17, or a whole layer with --layer")
    opened = model.open()
    other = None if judge is None else open_model(judge, device=model.device)
    names = [*targets, *(_channels_of(opened, layer, channels) if layer else [])]

    def make(some: Sequence[str], tell: Tell) -> Visualization:
        return maximise(
            opened, list(some), size=size, parametrisation=parametrisation, transforms=transforms,
            transparent=transparent, steps=steps, restarts=restarts, start=start,
            nearness=nearness, judge=other, progress=tell, **run.keywords,
        )  # fmt: skip

    name = harmless_name(layer or names[0])
    if to.output is None or (to.output.suffix and not to.output.is_dir()):
        if to.resume:
            raise SeewhyError("--resume needs a folder of results; name it with --output")
        path = to.output or Path(f"{name}.visualization{to.suffix}")
        check_writable(check_suffix(path, SUFFIXES))
        with progress(run.quiet) as tell:
            result = make(names, tell)
    else:
        with unless_left_empty(to.output):
            result = _in_parts(names, make, settings, name, to, opened, run)
        path = to.output / f"{name}.visualization{to.suffix if to.format_ else '.html'}"
    if among is not None:
        with progress(run.quiet) as tell:
            result = beside_photographs(result, opened, names, among, tell)
    result.save(path)
    wrote_file()
    if run.json:
        say_json(result.to_dict() | {"file": str(path)})
    elif not run.quiet:
        say(f"{result.summary()}\nwritten   {path}")
    left_out = () if result.natural is None else result.natural.left_out
    for reason in left_out:
        warn(f"skipped: {reason}")
    return 2 if left_out else 0


def _in_parts(
    names: Sequence[str],
    make: Make,
    settings: dict,
    name: str,
    to: OutputOptions,
    model: Model,
    run: RunOptions,
) -> Visualization:
    """Return the pictures of all targets; those of a few at a time are saved as they are ready."""
    assert to.output is not None
    folder = make_folder(to.output)
    parts: list[Visualization] = []
    with manifest_of(folder, settings, model, run) as manifest, progress(run.quiet) as tell:
        for first in range(0, len(names), TOGETHER):
            some = names[first : first + TOGETHER]
            path = folder / f"{name}.{first}-{first + len(some) - 1}.npz"
            identity = hashlib.sha256(json.dumps(some).encode()).hexdigest()
            if to.resume and not manifest.why_not_done(path, identity):
                parts.append(Visualization.load(path))
                continue
            try:
                part = make(some, within(tell, first, len(some), len(names)))
            except KeyboardInterrupt:
                done = f"{first} of {len(names)} targets are finished; add --resume to continue"
                raise KeyboardInterrupt(done) from None
            part.save(path)
            wrote_file()
            manifest.add(path, f"{some[0]} to {some[-1]}", identity)
            parts.append(part)
    return joined(parts)


def _channels_of(model: Model, layer: str, channels: str | None) -> list[str]:
    """Return the units of a layer; raises SeewhyError for channels that it does not have."""
    place = Address.parse(layer)
    count = model.layer_graph().layer(place.layer).channels
    if channels is None:
        return [f"{layer}:{channel}" for channel in range(count)]
    chosen: list[int] = []
    for part in channels.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise SeewhyError(f"--channels must be like 0-63 or 3,17,40, not {channels!r}")
        chosen += range(int(first), int(last or first) + 1)
    wrong = [channel for channel in chosen if channel >= count]
    if wrong:
        raise SeewhyError(f"{layer} has {count} channels, counted from 0; there is no {wrong[0]}")
    return [f"{layer}:{channel}" for channel in chosen]
