"""Is the network left as it was found?"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.evaluation.checks.check import DIFFERS, OK, Check

TOPIC, NAME = "state", "the network is as it was"
MEASURED = "training flags, hooks, parameters, gradients and buffers that changed"
HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]
NAMED = 3  # in the reason


@dataclass
class Snapshot:
    """The state of a network, to be compared with what it is later. Holds a copy of all values."""

    net: nn.Module
    _flags: dict[str, Any] = field(init=False)
    _values: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self._flags = self._all_flags()
        self._values = {name: value.detach().clone() for name, value in self._tensors().items()}

    def compare(self) -> list[Check]:
        """One row: how much has changed since, and the names of the first changes."""
        flags, tensors = self._all_flags(), self._tensors()
        changed = [name for name in {**self._flags, **flags} if _differs(name, self._flags, flags)]
        for name in {**self._values, **tensors}:
            before, after = self._values.get(name), tensors.get(name)
            if before is None or after is None or not _equal(before, after):
                changed.append(name)
        shown = ", ".join(changed[:NAMED]) + (" ..." if len(changed) > NAMED else "")
        verdict, reason = (DIFFERS, f"changed: {shown}") if changed else (OK, "")
        return [Check(TOPIC, NAME, MEASURED, verdict, float(len(changed)), "<= 0", reason)]

    def _all_flags(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, module in self.net.named_modules():
            found[f"{name or 'network'}.training"] = module.training
            for hooks in HOOKS:
                registered = getattr(module, hooks)
                found[f"{name or 'network'}.{hooks}"] = list(registered or ())
        for name, parameter in self.net.named_parameters():
            found[f"{name}.requires_grad"] = parameter.requires_grad
            found[f"the identity of {name}"] = id(parameter)
        return found

    def _tensors(self) -> dict[str, Tensor]:
        found = dict([*self.net.named_parameters(), *self.net.named_buffers()])
        gradients = {f"{n}.grad": p.grad for n, p in self.net.named_parameters()}
        return found | {name: grad for name, grad in gradients.items() if grad is not None}


def _differs(name: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    return name not in before or name not in after or before[name] != after[name]


def _equal(before: Tensor, after: Tensor) -> bool:
    """Return whether all values are the same; NaN equals NaN."""
    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    if not before.is_floating_point():
        return torch.equal(before, after)
    return bool(torch.isclose(before, after, rtol=0, atol=0, equal_nan=True).all())
