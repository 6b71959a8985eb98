"""Explanations as text: captions, and the summary for a terminal."""

from seewhy.attribution.drawing import display_sigma
from seewhy.attribution.explanation import Cost, Explanation
from seewhy.show.statistics import statistics
from seewhy.show.text import joined, number, percent, picture_name, place_text, range_text, remarks


def summary(explanation: Explanation) -> str:
    """Return a few lines per picture (target, range, location), the cost and the notes."""
    pictures = [_picture_summary(picture) for picture in explanation]
    closing = [f"cost      {cost_text(explanation.cost)}"]
    closing += [f"note      {note}" for note in explanation.notes]
    return "\n\n".join(pictures) + "\n" + joined(closing)


def _picture_summary(explanation: Explanation) -> str:
    """Return the lines about the only picture of the explanation."""
    numbers = statistics(explanation.heatmap[0])
    notes = explanation.batch.pictures[0].notes
    lines = [
        " · ".join([f"picture   {source_name(explanation, 0)}", *notes]),
        f"target    {value_text(explanation)}",
        f"method    {method_text(explanation)} · {explanation.provenance.model}",
        f"values    {range_text(numbers, explanation.signed)}",
        f"where     {place_text(numbers)}",
    ]
    lines += [f"residual  {text}" for text in [residual_text(explanation, 0)] if text]
    lines += [f"constants {text}" for text in [constants_text(explanation, 0)] if text]
    lines += [f"warning   {text}" for text in [constants_warning(explanation, 0)] if text]
    lines += [f"note      {text}" for text in remarks(numbers)]
    return joined(lines)


def caption(explanation: Explanation, index: int = 0) -> str:
    """Return one line such as "tabby 0.83 · grad-cam at layer4 (automatic) · model"."""
    return " · ".join(
        [target_text(explanation, index), method_text(explanation), explanation.provenance.model]
    )


def target_text(explanation: Explanation, index: int = 0) -> str:
    """Return the target with its probability, "tabby 0.83", or its score, "layer3:17 = 5.2"."""
    name = explanation.target_names[index]
    if not has_probability(explanation, index):
        return f"{name} = {number(float(explanation.score[index]))}"
    return f"{name} {float(explanation.probabilities[index]):.2f}"


def value_text(explanation: Explanation, index: int = 0) -> str:
    """Return the same in words: "tabby, probability 0.833" or "layer3:17, score 5.2"."""
    name = explanation.target_names[index]
    if not has_probability(explanation, index):
        return f"{name}, score {number(float(explanation.score[index]))}"
    return f"{name}, probability {float(explanation.probabilities[index]):.3f}"


def has_probability(explanation: Explanation, index: int = 0) -> bool:
    """Return whether the target is a class of a model whose outputs are logits."""
    return not explanation.raw and int(explanation.target[index]) >= 0


def method_text(explanation: Explanation) -> str:
    """Return the method and its layer, such as "grad-cam at layer4 (automatic)"."""
    layer = layer_text(explanation)
    return f"{explanation.method} at {layer}" if layer else explanation.method


def layer_text(explanation: Explanation) -> str:
    """Return the layer and how it was chosen; empty if the method reads no layer."""
    provenance = explanation.provenance
    if provenance.layer is None:
        return ""
    return f"{provenance.layer} ({'automatic' if provenance.layer_chosen else 'given'})"


def source_name(explanation: Explanation, index: int) -> str:
    """Return the picture's file name without folders, or its source."""
    return picture_name(explanation.batch.pictures[index])


def entry_name(explanation: Explanation, index: int) -> str:
    """Return the picture's name, with the target if the batch has several questions about it."""
    pictures = explanation.batch.pictures
    unique = sum(picture is pictures[index] for picture in pictures) == 1
    name = source_name(explanation, index)
    return name if unique else f"{name} · {explanation.target_names[index]}"


def residual_text(explanation: Explanation, index: int = 0) -> str:
    """Return what is missing from the sum of the map; empty if the method promises no sum."""
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
    """Return the passes per picture and the seconds, divided by the number of pictures `count`."""
    parts = [f"{_count(cost.forwards, 'forward')}, {_count(cost.backwards, 'backward')}"]
    parts += [f"{cost.shared:g} of them shared"] if cost.shared else []
    parts += [f"{cost.seconds / count:.2g} s"] if cost.seconds else []
    return " · ".join(parts)


def smoothing_text(explanation: Explanation) -> str:
    """Return how the displayed map differs from the values; empty if it does not."""
    sigma = display_sigma(explanation)
    return f"smoothed with σ = {sigma:g} px; values are not" if sigma else ""


def _count(passes: float, kind: str) -> str:
    return f"{passes:,g} {kind}{'' if passes == 1 else 's'}"
