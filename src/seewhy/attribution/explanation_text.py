"""Explanations in words: captions, and the summary for a terminal."""

from seewhy.attribution.drawing import display_sigma
from seewhy.attribution.explanation import Cost, Explanation
from seewhy.show.statistics import statistics
from seewhy.show.text import number, percent, picture_name, place_text, range_text, remarks


def summary(explanation: Explanation) -> str:
    """A few plain lines on every picture of the batch: what, where, how strong, at what cost."""
    pictures = [_summary_of_one(one) for one in explanation]
    closing = [f"cost      {cost_text(explanation.cost)}"]
    closing += [f"note      {note}" for note in explanation.notes]
    return "\n".join(["\n\n".join(pictures), *closing])


def _summary_of_one(one: Explanation) -> str:
    numbers = statistics(one.heatmap[0])
    lines = [
        " · ".join([f"picture   {source_name(one, 0)}", *one.batch.pictures[0].notes]),
        f"target    {value_text(one)}",
        f"method    {method_text(one)} · {one.provenance.model}",
        f"values    {range_text(numbers, one.signed)}",
        f"where     {place_text(numbers)}",
    ]
    lines += [f"residual  {text}" for text in [residual_text(one, 0)] if text]
    lines += [f"constants {text}" for text in [constants_text(one, 0)] if text]
    lines += [f"warning   {text}" for text in [constants_warning(one, 0)] if text]
    lines += [f"note      {text}" for text in remarks(numbers)]
    return "\n".join(lines)


def caption(explanation: Explanation, index: int = 0) -> str:
    """One line: "tabby 0.83 · grad-cam at layer4 (found) · model"."""
    return " · ".join(
        [target_text(explanation, index), method_text(explanation), explanation.provenance.model]
    )


def target_text(explanation: Explanation, index: int = 0) -> str:
    """The explained class and its probability, "tabby 0.83"; or a score, "layer3:17 = 5.2"."""
    name = explanation.target_names[index]
    if not has_probability(explanation, index):
        return f"{name} = {number(float(explanation.score[index]))}"
    return f"{name} {float(explanation.probabilities[index]):.2f}"


def value_text(explanation: Explanation, index: int = 0) -> str:
    """The same at length: "tabby, probability 0.833", "layer3:17, score 5.2"."""
    name = explanation.target_names[index]
    if not has_probability(explanation, index):
        return f"{name}, score {number(float(explanation.score[index]))}"
    return f"{name}, probability {float(explanation.probabilities[index]):.3f}"


def has_probability(explanation: Explanation, index: int = 0) -> bool:
    """Whether what is explained is a class of a model whose outputs are logits."""
    return not explanation.raw and int(explanation.target[index]) >= 0


def method_text(explanation: Explanation) -> str:
    """The method and its layer: "grad-cam at layer4 (found)"."""
    layer = layer_text(explanation)
    return f"{explanation.method} at {layer}" if layer else explanation.method


def layer_text(explanation: Explanation) -> str:
    """The layer and whether it was found or asked for; empty where the method has none."""
    provenance = explanation.provenance
    if provenance.layer is None:
        return ""
    return f"{provenance.layer} ({'found' if provenance.layer_chosen else 'asked'})"


def source_name(explanation: Explanation, index: int) -> str:
    """The picture's file name without its folders, or what it came from."""
    return picture_name(explanation.batch.pictures[index])


def entry_name(explanation: Explanation, index: int) -> str:
    """The picture's name, and what is asked where there are several questions about it."""
    pictures = explanation.batch.pictures
    once = sum(picture is pictures[index] for picture in pictures) == 1
    name = source_name(explanation, index)
    return name if once else f"{name} · {explanation.target_names[index]}"


def residual_text(explanation: Explanation, index: int = 0) -> str:
    """What is missing from the sum that the method promises; empty where it promises none."""
    if explanation.residual is None:
        return ""
    missing = percent(abs(float(explanation.residual[index])))
    return f"{missing} of the score is missing from the sum of the map"


def constants_text(explanation: Explanation, index: int = 0) -> str:
    """What biases and other constants keep of the score; empty where a method does not say."""
    if explanation.constants is None:
        return ""
    share = float(explanation.constants[index])
    if -0.01 <= share <= 1.01:
        return f"biases and other constants keep {percent(share)} of the score"
    return (
        f"biases and other constants keep {number(share)} times the score, and the map sums to "
        f"{number(1 - share)} times the score"
    )


def constants_warning(explanation: Explanation, index: int = 0) -> str:
    """That the map explains the smaller part of the score, where it does; else empty."""
    if explanation.constants is None or not constants_keep_most(explanation, index):
        return ""
    share = float(explanation.constants[index])
    advice = (
        '; biases="ignore" shares their part out among the inputs'
        if explanation.provenance.parameters.get("biases") == "keep"
        else ""
    )
    if -0.01 <= share <= 1.01:
        return (
            f"biases keep {percent(share)} of the score: this map explains "
            f"{percent(max(0.0, 1 - share))} of it{advice}"
        )
    return f"biases and the map are larger than the score and cancel each other{advice}"


def constants_keep_most(explanation: Explanation, index: int = 0) -> bool:
    """Whether biases and other constants keep more than half of the score, or take that much."""
    kept = explanation.constants
    return kept is not None and not abs(float(kept[index])) <= 0.5


def cost_text(cost: Cost, count: int = 1) -> str:
    """The passes per picture, and the seconds of all, or per picture if there are `count`."""
    parts = [f"{_count(cost.forwards, 'forward')}, {_count(cost.backwards, 'backward')}"]
    parts += [f"{cost.shared:g} of them shared"] if cost.shared else []
    parts += [f"{cost.seconds / count:.2g} s"] if cost.seconds else []
    return " · ".join(parts)


def smoothing_text(explanation: Explanation) -> str:
    """How the display differs from the values, or nothing where it does not."""
    sigma = display_sigma(explanation)
    return f"smoothed by σ {sigma:g} px; values are not" if sigma else ""


def _count(passes: float, kind: str) -> str:
    return f"{passes:,g} {kind}{'' if passes == 1 else 's'}"
