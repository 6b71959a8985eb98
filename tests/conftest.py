"""Shapes are checked in every test; networks are watched for changes."""

from jaxtyping import install_import_hook

# Before the first import of seewhy, so that its annotations are enforced.
install_import_hook("seewhy", "shapes.check_shapes")

import signal  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import AbstractContextManager, contextmanager  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import pairs  # noqa: E402
from hand_made import broken, explanation, panel, questions, unsigned  # noqa: E402, F401

torch.set_num_threads(1)  # several workers share the cores
# A shell starts background jobs with SIGINT ignored, which processes of the tests would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Pairs beyond the sample are collected where they are asked for, as by `-m full`."""
    pairs.WITH_FULL = "full" in config.option.markexpr.replace("not full", "")


HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]


@pytest.fixture
def unchanged() -> Callable[[nn.Module], AbstractContextManager[None]]:
    """`with unchanged(net):` fails if the block leaves a trace on the network or on torch."""
    return _unchanged


@contextmanager
def _unchanged(net: nn.Module) -> Iterator[None]:
    grads = {name: p.grad for name, p in net.named_parameters()}
    held = {name: None if g is None else g.clone() for name, g in grads.items()}
    before, surroundings = _state(net), _surroundings()
    try:
        yield
    finally:
        after = _state(net)
        assert after.keys() == before.keys()
        for key, value in before.items():
            assert _same(value, after[key]), f"{key} was changed"
        for name, parameter in net.named_parameters():
            assert parameter.grad is grads[name], f"the gradient of {name} was exchanged"
            assert _same(held[name], parameter.grad), f"the gradient of {name} was changed"
        now = _surroundings()
        for key, value in surroundings.items():
            assert _same(value, now[key]), f"{key} was changed"


def _state(net: nn.Module) -> dict[str, Any]:
    """Everything about a network that a borrower must give back."""
    state: dict[str, Any] = {}
    for name, module in net.named_modules():
        state[f"{name}.training"] = module.training
        state[f"{name}.forward"] = module.forward.__func__
        state[f"the attributes of {name}"] = sorted(vars(module))
        for hooks in HOOKS:
            registered = getattr(module, hooks)
            state[f"{name}.{hooks}"] = list(registered.items()) if registered else []
    for name, parameter in net.named_parameters():
        state[f"{name}.requires_grad"] = parameter.requires_grad
        state[f"the identity of {name}"] = id(parameter)
    for name, value in [*net.named_parameters(), *net.named_buffers()]:
        state[f"the value of {name}"] = value.detach().clone()
        state[f"the layout of {name}"] = value.stride()
    return state


def _surroundings() -> dict[str, Any]:
    """What is global to torch and NumPy."""
    return {
        "torch's random state": torch.get_rng_state(),
        "NumPy's random state": np.random.get_state()[1],  # noqa: NPY002  the global one
        "the default dtype": torch.get_default_dtype(),
        "the grad mode": torch.is_grad_enabled(),
        "the inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "the number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return a == b
