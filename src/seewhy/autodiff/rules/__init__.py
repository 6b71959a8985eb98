"""Rule sets: how a recorded operation pulls a cotangent back.

A rule is a function of the recorded operation and the cotangent of its output; it returns
one cotangent per input. A rule set names the kinds of operation that have a rule of their
own; every other operation is differentiated as usual.
"""

from seewhy.autodiff.rules.base import GRADIENT, Rule, Rules
from seewhy.autodiff.rules.rectifiers import DECONVNET, GUIDED

__all__ = ["DECONVNET", "GRADIENT", "GUIDED", "Rule", "Rules"]
