"""Which methods apply, and do the sums hold that some of them promise?

One panel of cheap methods answers both, on the very path that `compare` takes. Methods that share
their code share their answer, and costly methods are only asked what they require.
"""

from collections import defaultdict
from collections.abc import Sequence

from seewhy.attribution.explain import compare
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.method import REGISTRY, Method, as_method
from seewhy.autodiff.rules.rescale import RESCALE
from seewhy.engine.recording import INPUT, Request, recorded
from seewhy.errors import NotApplicable
from seewhy.evaluation.checks.check import (
    DIFFERS,
    NOT_APPLICABLE,
    OK,
    Check,
    at_most,
    not_applicable,
    rounding,
)
from seewhy.evaluation.checks.subject import Subject
from seewhy.support.settings import Settings

TOPIC, SUMS = "methods", "sums"
FEW = 2  # steps or samples of a method that is only tried
STEPS = (8, 16)  # of integrated gradients
EXACT = 1e-12  # epsilon of LRP in float64: the default keeps relevance where activations are tiny
RESIDUAL, QUADRATURE = 0.01, 0.05
PIECEWISE_LINEAR = frozenset({"relu", "clipped relu", "max pool", "maximum", "minimum"})
MEASURED = {
    "lrp-epsilon": "relevance at the pixels and of biases, against the score",
    "deep-lift": "contributions against the rise of the score above the mean colour",
    "fullgrad": "contributions of pixels and biases against the score",
    "integrated-gradients": "contributions against the rise of the score above the mean colour",
}
WHY = {
    "lrp-epsilon": "relevance is lost or counted twice on the way to the pixels",
    "deep-lift": "the multipliers miss a part of the network",
    "fullgrad": "some biases are missed: constants that functions or hooks add or scale",
}


def methods_and_sums(subject: Subject) -> list[Check]:
    """The residuals of the methods that promise a sum, and the methods that do not apply."""
    forms = _forms()
    cheap = [_tried(names[0]) for names in forms if not REGISTRY[names[0]].costly]
    coarse, fine = (as_method("integrated-gradients", steps=steps) for steps in STEPS)
    panel = compare(subject.model, subject.picture, [*cheap, coarse, fine], subject.target)
    return [*_sums(subject, panel), *_applicable(subject, panel, forms)]


def _forms() -> list[list[str]]:
    """The names of methods that share their code, those of a sweep only."""
    forms: dict[tuple, list[str]] = defaultdict(list)
    for name, cls in sorted(REGISTRY.items()):
        if cls.in_sweeps:
            forms[cls.requires, cls.attribute, cls.costly].append(name)
    return list(forms.values())


def _tried(name: str) -> Method:
    """The method with few steps or samples: whether it applies does not depend on their number."""
    given = REGISTRY[name].types()
    return as_method(name, **{option: FEW for option in ("steps", "samples") if option in given})


def _applicable(subject: Subject, panel: Panel, forms: Sequence[Sequence[str]]) -> list[Check]:
    """A row with the number of methods that apply, and one for each that does not."""
    skipped, rows = dict(panel.skipped), []
    for names in forms:
        for name in names:
            why = skipped.get(names[0]) or _refused(subject, name)
            if why:
                rows.append(not_applicable(TOPIC, name, "", why.replace(names[0], name)))
    count = sum(map(len, forms))
    measured = f"methods that apply, of {count}"
    return [Check(TOPIC, "applicable", measured, OK, float(count - len(rows))), *rows]


def _refused(subject: Subject, name: str) -> str | None:
    """Why the method does not apply, as far as it says so before it runs."""
    try:
        as_method(name).requires(subject.model, subject.picture)
    except NotApplicable as reason:
        return str(reason)
    return None


def _sums(subject: Subject, panel: Panel) -> list[Check]:
    explanations = {e.method: e for e in panel}
    rows = []
    for method in ("lrp-epsilon", "deep-lift", "fullgrad"):
        if method in explanations:
            rows.append(_residual(subject, explanations[method]))
        else:
            why = dict(panel.skipped).get(method, "it gave no map")
            rows.append(not_applicable(SUMS, method, MEASURED[method], why))
    return [*rows, _completeness(subject, panel)]


def _residual(subject: Subject, explanation: Explanation) -> Check:
    method = explanation.method
    assert explanation.residual is not None
    value, bound = float(explanation.residual[0]), rounding(subject.model, RESIDUAL)
    if method == "fullgrad" and not value <= bound:
        smooth = _not_piecewise_linear(subject)
        if smooth:
            reason = f"only piecewise linear networks have this sum, and this one runs {smooth}"
            return not_applicable(SUMS, method, MEASURED[method], reason, value)
    exact = None if value <= bound else _in_double(subject, as_method(method))
    if exact is not None and exact <= bound:
        cause = "rounding"
        if "epsilon" in REGISTRY[method].types():
            cause = "rounding, or what epsilon keeps where activations are tiny"
        reason = f"{cause}: in float64, and without epsilon if there is one, it is {exact:.2g}"
        return not_applicable(SUMS, method, MEASURED[method], reason, value)
    return at_most(SUMS, method, MEASURED[method], value, bound, WHY[method])


def _in_double(subject: Subject, method: Method) -> float | None:
    """The residual in float64 and with next to no epsilon; None without a copy in that type."""
    if subject.double is None:
        return None
    exact = as_method(method, epsilon=EXACT) if "epsilon" in method.types() else method
    panel = compare(subject.double.model, subject.double.picture, exact, subject.target)
    residuals = [e.residual for e in panel if e.residual is not None]
    return float(residuals[0][0]) if residuals else None


def _not_piecewise_linear(subject: Subject) -> str:
    """The kinds of operations that are neither linear nor rectifiers or maxima, with commas."""
    request, settings = Request(INPUT, RESCALE), Settings()
    with recorded(subject.model, subject.picture, [request], subject.target, settings) as recording:
        tape = recording.forward.tape
        kinds = {kind for kind in tape.seen if kind in RESCALE.by_kind} - PIECEWISE_LINEAR
        return ", ".join(sorted(kinds | set(tape.without_rule)))


def _completeness(subject: Subject, panel: Panel) -> Check:
    """Integrated gradients with more and more steps: the sum must approach the score's rise.

    A sum that hardly changes any more and is not the rise has another limit.
    """
    name, measured = "integrated-gradients", MEASURED["integrated-gradients"]
    by_steps = {e.provenance.parameters["steps"]: e for e in panel if e.method == name}
    if STEPS[1] not in by_steps:
        why = dict(panel.skipped).get(name, "it gave no map")
        return not_applicable(SUMS, name, measured, why)
    coarse, fine = (by_steps[steps] for steps in STEPS)
    assert fine.residual is not None
    value, total = float(fine.residual[0]), float(fine.attribution[0].double().sum())
    unsettled = abs(total - float(coarse.attribution[0].double().sum()))
    bound = f"<= {QUADRATURE:g}"
    if value <= QUADRATURE:
        return Check(SUMS, name, measured, OK, value, bound)
    if unsettled > value * abs(total) / 3:
        reason = f"{STEPS[1]} steps are too few for this network; use more (steps=128)"
        return Check(SUMS, name, measured, NOT_APPLICABLE, value, "", reason)
    exact = _in_double(subject, as_method(name, steps=STEPS[1]))
    if exact is not None and exact <= QUADRATURE:
        reason = f"rounding: in float64 it is {exact:.2g}"
        return Check(SUMS, name, measured, NOT_APPLICABLE, value, "", reason)
    reason = "the sum settles at another value: the gradient is not the slope of the score"
    return Check(SUMS, name, measured, DIFFERS, value, bound, reason)
