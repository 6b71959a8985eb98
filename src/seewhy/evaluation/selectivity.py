"""Are a method's maps specific to a channel, or nearly the same for all channels?

For each picture, each method explains three channels of one layer: the most active, a random one,
and the least active. If the three maps are similar, the method does not show what the channel
responds to, however crisp its maps are. In this way Aravindh Mahendran and Andrea Vedaldi found
that deconvnets are hardly selective (Salient Deconvolutional Networks, 2016).

    seewhy.channel_selectivity(model, "dog.jpg", layer="layer3").save("channels.png")

The score of a channel is the sum over its rows and columns. Similarity is measured by Spearman's
rank correlation of the maps and by the overlap of their strongest 5 %. Two maps of one picture
share its edges, so a correlation above zero is not a fault; and different maps prove nothing on
their own, since noise differs too. Compare the methods with each other.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seewhy.activations.capture import capture
from seewhy.attribution.explain import Report, as_model, compare, parse_methods
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.method import Method, as_method
from seewhy.errors import NotApplicable, SeewhyError, TooLarge, Unknown
from seewhy.evaluation.similarity import rank_correlation, top_overlap
from seewhy.images import Batch
from seewhy.models.addresses import LISTED, Address
from seewhy.models.hooks import hooked
from seewhy.models.model import Model
from seewhy.models.session import borrowed
from seewhy.results import Result
from seewhy.support.batching import BatchSizer
from seewhy.support.settings import Settings
from seewhy.targets.terms import each

METHODS = ("gradient", "input-x-gradient", "guided-backprop", "deconvnet", "grad-cam")
RANKS = ("most active", "random", "least active")  # the order of the channels in all results

# Mean rank correlations from which a method is called "not specific" or "partly specific".
UNSPECIFIC, PARTLY = 0.7, 0.4

By = Literal["max", "mean"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """The similarity of the maps of two channels, per picture; NaN if one of them is empty.

    The first column compares the most active channel with the random one, the second with the
    least active one. `correlation` is Spearman's rank correlation, in [-1, 1]; `overlap` is the
    share of the strongest 5 % of positions that both maps have in common.
    """

    correlation: Float[Tensor, "pictures 2"]
    overlap: Float[Tensor, "pictures 2"]

    def mean(self, picture: int | slice = slice(None)) -> float:
        """Return the mean rank correlation of all pairs, or a picture's; empty maps are ignored."""
        return float(self.correlation[picture].nanmean())


def degree(correlation: float) -> str:
    """Describe how specific maps are, given the rank correlation between channels."""
    if math.isnan(correlation):
        return "nothing to compare"
    return (
        "not specific" if correlation >= UNSPECIFIC
        else "partly specific" if correlation >= PARTLY
        else "specific"
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Finding:
    """The explanations of the three channels by one method, in the order of `RANKS`."""

    explanations: tuple[Explanation, Explanation, Explanation]
    similarity: Similarity

    @property
    def method(self) -> str:
        """The method's name."""
        return self.explanations[0].method

    @property
    def verdict(self) -> str:
        """A one-line description of how specific to the channel the maps are."""
        mean = self.similarity.mean()
        if math.isnan(mean):
            return f"{degree(mean)}: the maps of the other channels are empty"
        return f"{degree(mean)} to the channel: rank correlation {mean:.2f}".replace("-", "−")


@dataclass(frozen=True, eq=False, repr=False)
class ChannelSelectivity(Result):
    """Explanations of three channels of one layer by several methods, and their similarity.

    - `channels`, `activations`: the channels for each picture, in the order of `RANKS`, and their
      largest or mean activation, as `by` says. - `maps`: the activations themselves, and
      `similarity` how similar they are: the reference for the methods.
    - `findings`: one per method. - `skipped`: methods that do not apply, with the reason.
    """

    model: str
    layer: str
    by: By
    seed: int
    batch: Batch
    channels: Int[Tensor, "pictures 3"]
    activations: Float[Tensor, "pictures 3"]
    maps: Float[Tensor, "pictures 3 h w"]
    similarity: Similarity
    findings: tuple[Finding, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, method: str) -> Finding:
        """Return the finding of a method; raises Unknown with the closest names."""
        for finding in self.findings:
            if finding.method == method:
                return finding
        reasons = dict(self.skipped)
        if method in reasons:
            raise NotApplicable(reasons[method])
        raise Unknown("method in this comparison", method, [f.method for f in self.findings])


def channel_selectivity(
    model: "Model | nn.Module | str",
    pictures: Any,
    methods: "str | Method | type[Method] | Sequence[str | Method | type[Method]]" = METHODS,
    layer: str | None = None,
    *,
    by: By = "max",
    seed: int = 0,
    precision: str = "full",
    batch_size: int | None = None,
    progress: Report | None = None,
) -> ChannelSelectivity:
    """Explain the most active, a random and the least active channel of a layer.

    - `layer`: the layer with the channels; None: the deepest with rows and columns. `#call`
      selects one of several calls.
    - `by`: whether a channel's activity is the "max" or the "mean" over its positions.
    - `seed`: seed of the random channels; the n-th picture's channel is drawn from (seed, n).

    Methods that read a layer read the deepest earlier layer that lies on every path to this one.
    Methods set to read this or a deeper layer, and methods that explain only classes, are in
    `skipped` with the reason. The other parameters are those of `compare`.

    Raises SeewhyError for a layer without rows and columns or with fewer than three channels.
    """
    if by not in ("max", "mean"):
        raise Unknown("way to order channels", by, ["max", "mean"], hint="max or mean")
    chosen = parse_methods(methods)
    settings = Settings(seed, precision, batch_size)
    opened = as_model(model)
    batch = pictures if isinstance(pictures, Batch) else opened.prepare(pictures)
    address = Address.parse(layer or opened.find_layer(batch.pixels))
    channels, activations, maps = _choose_channels(opened, batch.pixels, address, by, settings)
    applicable, skipped = _applicable(chosen, opened, batch.pixels[:1], address)
    panel = Panel(())
    if applicable:
        targets = [[f"{address}:{c}" for c in column] for column in channels.T.tolist()]
        panel = compare(
            opened, batch, applicable, each(*targets),
            seed=seed, precision=precision, batch_size=batch_size, progress=progress,
        )  # fmt: skip
    return ChannelSelectivity(
        model=opened.name,
        layer=str(address),
        by=by,
        seed=seed,
        batch=batch,
        channels=channels,
        activations=activations,
        maps=maps,
        similarity=_similarity(*maps.unbind(1)),
        findings=tuple(_finding(explanation, len(batch)) for explanation in panel),
        skipped=(*skipped, *panel.skipped),
    )


def ranked(
    maps: Float[Tensor, "pictures channels h w"], by: By, seed: int, first: int = 0
) -> tuple[Int[Tensor, "pictures 3"], Float[Tensor, "pictures 3"]]:
    """Return the most active, a random and the least active channel, and their activity.

    The random channel differs from the other two; it is drawn from the seed and the picture's
    index, which is `first` for the first picture. Of equal channels, the first is chosen.
    """
    activity = maps.amax((2, 3)) if by == "max" else maps.mean((2, 3))
    best = activity.sort(dim=1, descending=True, stable=True).indices[:, 0]
    least = activity.sort(dim=1, stable=True).indices[:, 0]
    drawn = []
    for number, taken in enumerate(zip(best.tolist(), least.tolist(), strict=True), first):
        others = [c for c in range(maps.shape[1]) if c not in taken]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        drawn.append(others[int(torch.randint(len(others), (), generator=generator))])
    channels = torch.stack([best, torch.tensor(drawn), least], 1)
    return channels, activity.gather(1, channels)


def layer_before(model: Model, pixels: Tensor, address: Address) -> str:
    """Return the deepest layer with rows and columns that lies on every path to `address`.

    A layer each of whose channels leads to one channel only, as before a ReLU or a batch
    normalisation, is ignored: its map would show the channel itself. Raises NotApplicable if there
    is no such layer.
    """
    layer_graph = model.layer_graph(pixels)
    order = list(layer_graph.layers)
    for name in reversed(order[: order.index(address.layer)]):
        layer = layer_graph.layers[name]
        if layer.grid and not layer.passive and _lies_on_every_path(model, pixels, name, address):
            return name
    raise NotApplicable(
        f"no layer with rows and columns lies before {address} on every path; name one "
        "(layer=, or --layer)"
    )


def _lies_on_every_path(model: Model, pixels: Tensor, name: str, address: Address) -> bool:
    """Return whether `address` depends on the input only through the layer, on several channels.

    To find out, the graph is cut at the layer and the most active channel is differentiated.
    """
    layer_graph = model.layer_graph(pixels)
    grids = layer_graph.layers[address.layer].grid, layer_graph.layers[name].grid
    assert grids[0] and grids[1]
    calls = layer_graph.call(address), layer_graph.call(Address(name))
    activations: dict[str, Tensor] = {}

    def cut(tensor: Tensor, call: int) -> Tensor | None:
        if call != calls[1]:
            return None
        activations["layer"] = tensor.detach().clone().requires_grad_()
        return activations["layer"].clone()

    def keep(tensor: Tensor, call: int) -> None:
        if call == calls[0]:
            activations["target"] = tensor.clone()

    pixels = pixels.detach().clone().requires_grad_()
    with borrowed(model.net), hooked(model.net, {name: cut, address.layer: keep}):
        model.forward(pixels)
        maps = grids[0].maps(activations["target"])[0]
        score = maps[maps.amax((1, 2)).argmax()].sum()
        if not score.requires_grad:
            return False
        inputs = [pixels, activations["layer"]]
        bypassing, through = torch.autograd.grad(score, inputs, allow_unused=True)
    if bypassing is not None or through is None:
        return False
    return _count_channels(grids[1].maps(through)) > 1


def _count_channels(gradient: Float[Tensor, "1 channels h w"]) -> int:
    return int((gradient != 0).any(3).any(2).sum())


def _choose_channels(
    model: Model, pixels: Tensor, address: Address, by: By, settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three channels of each picture, their activity and their maps, on the CPU."""
    if address.channel is not None or address.position is not None:
        raise SeewhyError(
            f"the layer must not name a channel or position; write {address.layer}, not {address}"
        )
    layer = model.layer_graph(pixels).layer(address.layer)
    if layer.grid is None or layer.channels < len(RANKS):
        raise SeewhyError(
            f"the output of {address} has shape {layer.shape}; name a layer with rows, columns "
            f"and at least {len(RANKS)} channels; {LISTED}"
        )
    grid = layer.grid

    def run_part(part: slice) -> tuple[Tensor, Tensor, Tensor]:
        maps = grid.maps(capture(model, pixels[part], [address])[str(address)]).float().cpu()
        channels, activations = ranked(maps, by, settings.seed, first=part.start)
        return channels, activations, maps[torch.arange(len(maps))[:, None], channels]

    sizer = BatchSizer(settings, pixels, recorded=True, device=model.device)
    parts = sizer.parts(len(pixels), run_part, TooLarge(model.name, *pixels.shape[-2:]))
    channels, activations, maps = map(torch.cat, zip(*parts, strict=True))
    return channels, activations, maps


def _applicable(
    methods: Sequence[Method], model: Model, pixels: Tensor, address: Address
) -> tuple[list[Method], list[tuple[str, str]]]:
    """Return the methods that apply, with their layer set, and the others with the reason."""
    order = list(model.layer_graph(pixels).layers)
    applicable, skipped = [], []
    for method in methods:
        read = method.parameters.get("layer")
        try:
            if read is None and method.reads_layer:
                read = layer_before(model, pixels, address)
                method = as_method(method, layer=read)
            layer = Address.parse(read).layer if read else None
            if layer in order[order.index(address.layer) :]:
                raise NotApplicable(
                    f"reads {read}, which does not come before {address}: its map would be the "
                    "channel itself, or empty; name a shallower layer"
                )
            applicable.append(method)
        except NotApplicable as reason:
            skipped.append((method.name, str(reason)))
    return applicable, skipped


def _finding(explanation: Explanation, pictures: int) -> Finding:
    best, other, least = (explanation[i * pictures : (i + 1) * pictures] for i in range(3))
    return Finding((best, other, least), _similarity(best.heatmap, other.heatmap, least.heatmap))


def _similarity(
    best: Float[Tensor, "pictures h w"],
    other: Float[Tensor, "pictures h w"],
    least: Float[Tensor, "pictures h w"],
) -> Similarity:
    def compare_maps(measure: Callable[[Tensor, Tensor], float]) -> Float[Tensor, "pictures 2"]:
        triples = zip(best, other, least, strict=True)
        return torch.tensor([[measure(a, b), measure(a, c)] for a, b, c in triples])

    return Similarity(compare_maps(rank_correlation), compare_maps(top_overlap))
