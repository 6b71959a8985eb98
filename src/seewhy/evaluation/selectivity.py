"""Does a method show what one channel responds to, or the same picture for all of them?

In one layer and for each picture, three channels are explained by each method: the most active,
a random one, and the least active. A method whose maps for the three are alike does not show
what the channel responds to, however crisp its maps are. That is how Aravindh Mahendran and
Andrea Vedaldi found deconvnets to be hardly selective (Salient Deconvolutional Networks, 2016).

    seewhy.channel_selectivity(model, "dog.jpg", layer="layer3").save("channels.png")

A channel's score is the sum over its rows and columns. Alike is measured by Spearman's rank
correlation of the maps and by the places that their strongest 5 % have in common. Two maps of
one picture share its edges, so a correlation above zero is no fault; and maps that differ prove
nothing by themselves, since noise differs too. Read the methods against each other.
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
RANKS = ("most active", "random", "least active")  # the channels, in the order of all results

# Mean rank correlations from which a method is called what it is called.
UNSPECIFIC, PARTLY = 0.7, 0.4

By = Literal["max", "mean"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike the maps of two channels are, per picture; NaN where one holds nothing.

    The first column compares the most active channel with the random one, the second with the
    least active one. `correlation` is Spearman's, in [-1, 1]; `overlap` the share that the
    strongest 5 % of places have in common.
    """

    correlation: Float[Tensor, "pictures 2"]
    overlap: Float[Tensor, "pictures 2"]

    def mean(self, picture: int | slice = slice(None)) -> float:
        """The rank correlation of all pairs that can be compared, or a picture's; NaN if none."""
        return float(self.correlation[picture].nanmean())


def degree(correlation: float) -> str:
    """What a method is called whose maps of different channels correlate so much."""
    if math.isnan(correlation):
        return "nothing to compare"
    return (
        "not specific" if correlation >= UNSPECIFIC
        else "partly specific" if correlation >= PARTLY
        else "specific"
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Finding:
    """What one method says about the three channels, in the order of `RANKS`."""

    explanations: tuple[Explanation, Explanation, Explanation]
    similarity: Similarity

    @property
    def method(self) -> str:
        """The method's name."""
        return self.explanations[0].method

    @property
    def verdict(self) -> str:
        """One line on how specific to the channel the maps are."""
        mean = self.similarity.mean()
        if math.isnan(mean):
            return f"{degree(mean)}: the maps of the other channels are empty"
        return f"{degree(mean)} to the channel: rank correlation {mean:.2f}".replace("-", "−")


@dataclass(frozen=True, eq=False, repr=False)
class ChannelSelectivity(Result):
    """What several methods say about three channels of one layer.

    - `channels`, `activations`: which channels of each picture, in the order of `RANKS`, and how
      active they are, `by` their largest or mean value. - `maps`: the activations themselves,
      and `similarity` how alike they are: no method can tell channels apart better.
    - `findings`: one a method. - `skipped`: methods that cannot be asked, with the reason.
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
        """What this method says; raises Unknown with the nearest names."""
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

    - `layer`: whose channels; None: the deepest with rows and columns. With `#call` one call.
    - `by`: what makes a channel active: the "max" or "mean" over its places.
    - `seed`: of the random channels; the n-th picture's is drawn from (seed, n).

    Methods that read a layer read the deepest one before it through which alone it can be
    reached. One that is told to read this or a deeper layer is in `skipped` with the reason, and
    so is one that explains classes only. The other parameters are those of `compare`.

    Raises SeewhyError for a layer without rows and columns or with fewer than three channels.
    """
    if by not in ("max", "mean"):
        raise Unknown("way to order channels", by, ["max", "mean"], hint="max or mean")
    chosen = parse_methods(methods)
    settings = Settings(seed, precision, batch_size)
    opened = as_model(model)
    batch = pictures if isinstance(pictures, Batch) else opened.prepare(pictures)
    place = Address.parse(layer or opened.find_layer(batch.pixels))
    channels, activations, maps = _chosen(opened, batch.pixels, place, by, settings)
    able, skipped = _able(chosen, opened, batch.pixels[:1], place)
    panel = Panel(())
    if able:
        questions = [[f"{place}:{c}" for c in column] for column in channels.T.tolist()]
        panel = compare(
            opened, batch, able, each(*questions),
            seed=seed, precision=precision, batch_size=batch_size, progress=progress,
        )  # fmt: skip
    return ChannelSelectivity(
        model=opened.name,
        layer=str(place),
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
    """The most active, a random and the least active channel of each picture; how active each is.

    The random one is neither of the others; it is drawn from the seed and the picture's number,
    `first` for the first one. Of equal channels the first counts.
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


def layer_before(model: Model, pixels: Tensor, place: Address) -> str:
    """The deepest layer with rows and columns through which alone the layer at `place` is reached.

    A layer whose channels go into one channel each, as those before a rectifier or a batch
    normalisation do, does not count: it would show the channel itself. Raises NotApplicable
    where there is none.
    """
    layer_graph = model.layer_graph(pixels)
    order = list(layer_graph.layers)
    for name in reversed(order[: order.index(place.layer)]):
        layer = layer_graph.layers[name]
        if layer.grid and not layer.passive and _leads_to(model, pixels, name, place):
            return name
    raise NotApplicable(
        f"no layer with rows and columns lies before {place} on every path; name one "
        "(layer=, or --layer)"
    )


def _leads_to(model: Model, pixels: Tensor, name: str, place: Address) -> bool:
    """Whether a channel at `place` is reached through the layer alone, and not through one channel.

    Found by trying: the graph is cut at the layer, and the most active channel pulled back.
    """
    layer_graph = model.layer_graph(pixels)
    grids = layer_graph.layers[place.layer].grid, layer_graph.layers[name].grid
    assert grids[0] and grids[1]
    calls = layer_graph.call(place), layer_graph.call(Address(name))
    seen: dict[str, Tensor] = {}

    def cut(tensor: Tensor, call: int) -> Tensor | None:
        if call != calls[1]:
            return None
        seen["layer"] = tensor.detach().clone().requires_grad_()
        return seen["layer"].clone()

    def keep(tensor: Tensor, call: int) -> None:
        if call == calls[0]:
            seen["place"] = tensor.clone()

    pixels = pixels.detach().clone().requires_grad_()
    with borrowed(model.net), hooked(model.net, {name: cut, place.layer: keep}):
        model.forward(pixels)
        maps = grids[0].maps(seen["place"])[0]
        score = maps[maps.amax((1, 2)).argmax()].sum()
        if not score.requires_grad:
            return False
        beside, through = torch.autograd.grad(score, [pixels, seen["layer"]], allow_unused=True)
    return beside is None and through is not None and _channels_in(grids[1].maps(through)) > 1


def _channels_in(gradient: Float[Tensor, "1 channels h w"]) -> int:
    return int((gradient != 0).any(3).any(2).sum())


def _chosen(
    model: Model, pixels: Tensor, place: Address, by: By, settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each picture the three channels, how active they are, and their maps, on the CPU."""
    if place.channel is not None or place.position is not None:
        raise SeewhyError(f"channels are those of a whole layer; write {place.layer}, not {place}")
    layer = model.layer_graph(pixels).layer(place.layer)
    if layer.grid is None or layer.channels < len(RANKS):
        raise SeewhyError(
            f"{place} puts out {layer.shape}: channels are compared in a layer with rows, columns "
            f"and at least {len(RANKS)} channels; {LISTED}"
        )
    grid = layer.grid

    def of_some(some: slice) -> tuple[Tensor, Tensor, Tensor]:
        maps = grid.maps(capture(model, pixels[some], [place])[str(place)]).float().cpu()
        channels, activations = ranked(maps, by, settings.seed, first=some.start)
        return channels, activations, maps[torch.arange(len(maps))[:, None], channels]

    sizer = BatchSizer(settings, pixels, recorded=True, device=model.device)
    found = sizer.parts(len(pixels), of_some, TooLarge(model.name, *pixels.shape[-2:]))
    channels, activations, maps = map(torch.cat, zip(*found, strict=True))
    return channels, activations, maps


def _able(
    methods: Sequence[Method], model: Model, pixels: Tensor, place: Address
) -> tuple[list[Method], list[tuple[str, str]]]:
    """The methods that can be asked, with their layer; the others with the reason."""
    order = list(model.layer_graph(pixels).layers)
    able, skipped = [], []
    for method in methods:
        asked = method.parameters.get("layer")
        try:
            if asked is None and method.reads_layer:
                asked = layer_before(model, pixels, place)
                method = as_method(method, layer=asked)
            reads = Address.parse(asked).layer if asked else None
            if reads in order[order.index(place.layer) :]:
                raise NotApplicable(
                    f"reads {asked}, which does not come before {place}: its map would be the "
                    "channel itself, or empty; name a shallower layer"
                )
            able.append(method)
        except NotApplicable as reason:
            skipped.append((method.name, str(reason)))
    return able, skipped


def _finding(explanation: Explanation, pictures: int) -> Finding:
    best, other, least = (explanation[i * pictures : (i + 1) * pictures] for i in range(3))
    return Finding((best, other, least), _similarity(best.heatmap, other.heatmap, least.heatmap))


def _similarity(
    best: Float[Tensor, "pictures h w"],
    other: Float[Tensor, "pictures h w"],
    least: Float[Tensor, "pictures h w"],
) -> Similarity:
    def measured(measure: Callable[[Tensor, Tensor], float]) -> Float[Tensor, "pictures 2"]:
        triples = zip(best, other, least, strict=True)
        return torch.tensor([[measure(a, b), measure(a, c)] for a, b, c in triples])

    return Similarity(measured(rank_correlation), measured(top_overlap))
