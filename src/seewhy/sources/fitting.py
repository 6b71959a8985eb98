"""Load weights into a network, and report exactly why they do not fit."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from seewhy.errors import SeewhyError
from seewhy.sources.weights import StateDict

# Prefixes that wrappers (DataParallel, Lightning, torch.compile, distillation) add to each name.
PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.", "teacher.", "ema.")
COUNTER = "num_batches_tracked"  # of a batch norm; not used in inference


@dataclass(frozen=True)
class Misfit:
    """The differences between a state dict and a network; shapes are (file, network)."""

    missing: list[str]
    unexpected: list[str]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {'tensor' if len(names) == 1 else 'tensors'} {how} (first: {names[0]})"
            for names, how in ((self.missing, "missing"), (self.unexpected, "unexpected"))
            if names
        ]
        if self.reshaped:
            name, (file, network) = next(iter(self.reshaped.items()))
            parts.append(
                f"{len(self.reshaped)} of another shape "
                f"({name}: file {_times(file)}, network {_times(network)})"
            )
        return ", ".join(parts)


def load(net: nn.Module, state: StateDict, file: object, name: str) -> None:
    """Copy `state` into `net`, cast to the network's dtypes; every tensor must fit.

    Raises `SeewhyError` with a one-line summary of the differences.
    """
    misfit = compare(net, state)
    if misfit:
        raise SeewhyError(
            f"{file} does not fit {name}: {misfit}; choose the model that these weights belong to"
        )
    for key, tensor in net.state_dict().items():
        if key in state and tensor.is_floating_point() and not state[key].is_floating_point():
            raise SeewhyError(
                f"{file} holds {state[key].dtype} values in {key}, which look quantised; "
                "give floating-point weights"
            )
    net.load_state_dict(state, strict=False)


def compare(net: nn.Module, state: StateDict) -> Misfit:
    """Return the tensors of `state` that are missing, unexpected or of another shape for `net`."""
    own = net.state_dict()
    return Misfit(
        [key for key in own if key not in state and not key.endswith(COUNTER)],
        [key for key in state if key not in own],
        {
            key: (tuple(state[key].shape), tuple(own[key].shape))
            for key in own
            if key in state and state[key].shape != own[key].shape
        },
    )


def without_prefixes(state: StateDict, wanted: Iterable[str]) -> StateDict:
    """Remove the known prefixes from `state` whose removal makes more names match `wanted`."""
    wanted = set(wanted)
    best = state
    for prefix in PREFIXES:
        shorter = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
        if shorter.keys() == state.keys() or len(shorter) < len(state):
            continue  # no name has the prefix, or two names would become equal
        candidate = without_prefixes(shorter, wanted)  # prefixes may be nested: "module.model."
        if len(wanted & candidate.keys()) > len(wanted & best.keys()):
            best = candidate
    return best


def other_class_count(misfit: Misfit, classes: int | None) -> int | None:
    """Return the file's number of classes if it differs from the network in nothing else."""
    if misfit.missing or misfit.unexpected or not misfit.reshaped or classes is None:
        return None
    counts = {file[0] if file else 0 for file, _ in misfit.reshaped.values()}
    same_otherwise = all(
        file[1:] == network[1:] and network[:1] == (classes,)
        for file, network in misfit.reshaped.values()
    )
    return counts.pop() if same_otherwise and len(counts) == 1 else None


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
