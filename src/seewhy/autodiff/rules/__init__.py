"""Rule sets: how cotangents are propagated backwards through recorded operations.

A rule is a function of the recorded operation and the cotangent of its output; it returns
one cotangent per input. A rule set maps kinds of operation to rules; every other operation is
differentiated as usual.
"""

from seewhy.autodiff.rules.base import GRADIENT, Rule, Rules
from seewhy.autodiff.rules.rectifiers import DECONVNET, GUIDED

__all__ = ["DECONVNET", "GRADIENT", "GUIDED", "Rule", "Rules"]
