"""No operation loses relevance, or counts it twice, without a word: all of `operation_cases`."""

import importlib.util
from pathlib import Path

import pytest
import torch

import seewhy
from operation_cases import CASES, Between, pixels
from operation_checks import METHODS, gradient_error, outcome

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", CASES)
def test_every_operation_is_right_or_refused_by_name(name: str):
    case = CASES[name]
    for method in METHODS:
        found = outcome(case, method)
        assert found.right, f"{method}: {found}"
        assert not found.refused or "torch's" in found.refused or "reference" in found.refused
    assert gradient_error(case) < 1e-12


def test_the_page_of_operations_is_current():
    spec = importlib.util.spec_from_file_location("operations", DOCS / "operations.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run python docs/generate.py"


@pytest.mark.parametrize("name", ["MultiheadAttention", "constant[...] = x", "pad, value"])
def test_constants_are_those_of_each_picture(name: str):
    """Also where the network folds pictures and tokens into one axis."""
    model = seewhy.Model(Between(CASES[name]), mean=0.0, std=1.0)
    together = seewhy.explain(model, pixels(), "lrp-epsilon", 1)
    assert together.constants is not None
    for i in range(2):
        alone = seewhy.explain(model, pixels()[i, None], "lrp-epsilon", 1)
        assert alone.constants is not None
        torch.testing.assert_close(alone.constants[0], together.constants[i])
