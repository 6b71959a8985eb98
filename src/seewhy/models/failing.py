"""Why a network fails on a picture, in one line: a known cause, or the user's line that raised."""

import inspect
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seewhy.errors import SeewhyError
from seewhy.models.adapter import Adapter
from seewhy.support.user_code import Raised, is_ours, report

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_OTHER_DIMENSIONS = {
    nn.Conv1d: "sequences [batch, channels, length]",
    nn.Conv3d: "volumes or videos [batch, channels, depth, height, width]",
}
# How a network of torch.export says that its batch dimension is a constant.
_FIXED_BATCH = re.compile(r"Guard failed: \w+\.size\(\)\[0\] == (\d+)")


def why_it_fails(
    name: str, net: nn.Module, normal: Tensor, error: BaseException
) -> SeewhyError | None:
    """Return the error that says why the network fails on normalised pixels.

    None if this package may be the cause. `name` is what the network is called in the message.
    """
    reason = _known_cause(net, tuple(normal.shape), error)
    if reason is not None:
        return SeewhyError(f"{name} {reason}")
    if is_ours(error) and not _fails_by_itself(net, normal, error):
        return None
    return report(name, error)


def _fails_by_itself(net: nn.Module, normal: Tensor, error: BaseException) -> bool:
    """Return whether the network raises the same error while nothing intercepts its functions.

    Under a tape, a function that the network calls wrongly is called by the tape.
    """
    if type(normal) is not Tensor:
        return False  # a tensor of ours, under which the network takes other paths
    try:
        with torch._C.DisableTorchFunction(), torch.no_grad():
            net(normal.detach())
    except Raised as again:
        return type(again) is type(error) and not is_ours(again)
    return False


def _known_cause(net: nn.Module, shape: tuple[int, ...], error: BaseException) -> str | None:
    """Return why the network fails, for the causes that users meet, or None.

    The text goes on after the network's name: "takes 13 channels, not 3; ...".
    """
    fixed = _FIXED_BATCH.search(str(error)) if isinstance(error, AssertionError) else None
    if fixed:
        return f"takes batches of {fixed[1]} only; export it with a dynamic batch dimension"
    if not isinstance(error, TypeError | ValueError | RuntimeError):
        return None
    missing = _missing_inputs(net)
    if isinstance(error, TypeError) and missing:
        return (
            f"needs further inputs ({', '.join(missing)}); give them to seewhy.Model(net, "
            "inputs={name: value}), which holds them fixed"
        )
    first = next((m for m in net.modules() if isinstance(m, _CONVOLUTIONS)), None)
    kind = _OTHER_DIMENSIONS.get(type(first))
    if kind and not any(isinstance(m, nn.Conv2d) for m in net.modules()):
        return f"takes {kind}; seewhy explains pictures [batch, channels, height, width]"
    # The layer that reads the picture may come after others that add channels to it.
    wanted = getattr(first, "in_channels", shape[1])
    if isinstance(error, RuntimeError) and wanted != shape[1] and "channels" in str(error):
        return (
            f"takes {wanted} channels, not {shape[1]}; give seewhy.Model mean and std with "
            f"{wanted} numbers, or preparation=seewhy.Preparation(channels={wanted})"
        )
    return None


def _missing_inputs(net: nn.Module) -> list[str]:
    """The arguments without a default that the network is not given."""
    network, inputs, picture = net, (), None
    if isinstance(net, Adapter):
        network, inputs, picture = net.network, net.inputs, net.picture
    try:
        parameters = list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return []
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in parameters if p.kind not in several and p.default is p.empty]
    others = [name for name in needed if name != picture] if picture else needed[1:]
    if isinstance(inputs, Mapping):
        return [name for name in others if name not in inputs]
    return others[len(inputs) :]
