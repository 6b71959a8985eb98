"""Modules that others need at an early time can be the first to be imported."""

import subprocess
import sys

import pytest

# torch is imported once; seewhy's own modules are forgotten before each.
ALONE = """
import importlib, pkgutil, sys
import torch, torchvision.ops, torchvision.transforms.functional
import seewhy.perturbation
deep = [m.name for m in pkgutil.iter_modules(seewhy.perturbation.__path__, "seewhy.perturbation.")]
for name in [*deep, *sys.argv[1:]]:
    for known in [known for known in sys.modules if known.partition(".")[0] == "seewhy"]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
"""

OTHERS = [
    "perturbation.baselines",
    "engine.recording",
    "activations.exemplars",
    "evaluation.sufficiency",
    "attribution.method",
    "autodiff.tape",
    "models.model",
]


def test_modules_are_imported_alone():
    names = [f"seewhy.{name}" for name in OTHERS]
    run = [sys.executable, "-c", ALONE, *names]
    said = subprocess.run(run, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, ""), said.stderr


@pytest.mark.parametrize("first", ["detection_score", "black_box"])
def test_a_function_with_the_name_of_its_module_is_the_function(first: str):
    asked = f"import seewhy; seewhy.{first}; assert callable(seewhy.black_box), seewhy.black_box"
    subprocess.run([sys.executable, "-c", asked], check=True)
