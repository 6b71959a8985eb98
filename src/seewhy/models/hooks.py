"""Read and replace the outputs of modules while a `with` block runs.

Forward hooks are registered only here. They are removed when the block ends, also after an
exception.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from seewhy.models.exclusion import restoring

OutputHook = Callable[[Tensor, int], Tensor | None]


@contextmanager
def hooked(
    net: nn.Module, hooks: Mapping[str, OutputHook], before_others: bool = False
) -> Iterator[None]:
    """Call each named module's hook with its output and the index of the call (from 0).

    A tensor that a hook returns replaces the output. If the output is a tuple, list, mapping or
    dataclass, its first tensor is used. With `before_others`, these hooks run before hooks that
    were registered earlier.
    """
    calls: Counter[str] = Counter()

    def forward_hook(name: str, hook: OutputHook) -> Callable:
        def call(module: nn.Module, args: Any, output: Any) -> Any:
            tensor = first_tensor(output)
            if tensor is None:
                return None
            calls[name] += 1
            new = hook(tensor, calls[name] - 1)
            return None if new is None else _replaced(output, tensor, new)

        return call

    modules = dict(net.named_modules())
    with restoring() as undo:
        for name, hook in hooks.items():
            called = forward_hook(name, hook)
            handle = modules[name].register_forward_hook(called, prepend=before_others)
            undo.callback(handle.remove)
        yield


def first_tensor(output: Any) -> Tensor | None:
    """Return the first tensor of an output (tensor, sequence, mapping or dataclass), or None."""
    if isinstance(output, Tensor):
        return output
    return next((v for v in _values(output) if isinstance(v, Tensor)), None)


def _values(output: Any) -> Iterable[Any]:
    if isinstance(output, Mapping):
        return output.values()
    if isinstance(output, tuple | list):
        return output
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return [getattr(output, field.name) for field in dataclasses.fields(output)]
    return ()


def _replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """Replace `old` by `new` in `output`, and keep the container type."""
    if output is old:
        return new
    if isinstance(output, Mapping):
        changed = {key: new if value is old else value for key, value in output.items()}
        return changed if type(output) is dict else type(output)(**changed)
    if isinstance(output, tuple | list):
        items = [new if item is old else item for item in output]
        return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
    names = [f.name for f in dataclasses.fields(output) if getattr(output, f.name) is old]
    return dataclasses.replace(output, **dict.fromkeys(names, new))
