"""The page of operations: what LRP and DeepLIFT say of each, measured. Called by generate.py.

The cases and what is right of them are those of tests/operation_cases.py and operation_checks.py.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from operation_cases import ALL, Case  # noqa: E402
from operation_checks import Outcome, kinds, outcome  # noqa: E402

PAGE = ROOT / "docs" / "operations.md"

HEAD = """# Operations

What LRP and DeepLIFT say of each operation of torch that a vision network may contain. Every line
is measured by `python docs/generate.py`, on a network of a convolution, the operation and a dense
layer, in float64; tests compare it with what is right where that is known.

- **LRP**: the kind of operation whose
  [rule](architecture.md#relevance-is-the-tensor-times-its-cotangent) applies; `gradient` where none
  is needed, because the operation is linear or selects among values. In all lines the map and what
  constants keep add up to the score, within 1e-6 of it.
- **constants keep**: what they take of the score: nothing, their part (what the operation puts out
  for an input of zero: what is added, masked, padded), or what a Taylor expansion leaves over
  (softmax).
- **DeepLIFT**: `complete`: the map adds up to the rise of the score, within 1e-6. `refused: jump`:
  the picture and the reference may fall on different sides of a comparison or a selection, and what
  the jump adds belongs to no input; where both fall on the same side there is a map.
- `refused`: the method raises `NotApplicable` and names the function. Methods that need the
  gradient alone (`gradient`, `integrated-gradients`, `grad-cam`, ...) work on all of them.
"""


def page() -> str:
    """The page, measured anew."""
    return HEAD + "".join(
        f"\n## {section}\n\n| operation | LRP | constants keep | DeepLIFT |\n|---|---|---|---|\n"
        + "".join(_row(case) for case in cases)
        for section, cases in ALL.items()
    )


def write_operations() -> None:
    """Write docs/operations.md."""
    PAGE.write_text(page())


def _row(case: Case) -> str:
    lrp, deep_lift = outcome(case, "lrp-epsilon"), outcome(case, "deep-lift")
    rules = "refused" if lrp.refused else ", ".join(sorted(kinds(case))) or "gradient"
    return f"| `{case.name}` | {rules} | {_kept(case, lrp)} | {_completeness(deep_lift)} |\n"


def _kept(case: Case, lrp: Outcome) -> str:
    if lrp.refused:
        return ""
    return "their part" if case.affine else "the rest" if lrp.kept > 1e-6 else "nothing"


def _completeness(outcome: Outcome) -> str:
    if not outcome.refused:
        return "complete"
    return "refused: jump" if "such a jump" in outcome.refused else "refused"
