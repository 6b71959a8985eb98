"""Explanations in words: captions, remarks, and the summary for a terminal."""

import math

from seewhy.attribution.explanation import Cost, Explanation
from seewhy.images import Picture
from seewhy.show.drawing import display_sigma
from seewhy.show.statistics import Statistics, statistics


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


def picture_name(picture: Picture) -> str:
    """The file name without its folders, or what it came from."""
    return name_of(picture.source)


def name_of(source: str) -> str:
    """Of what a picture came from the last part."""
    return source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or source


def entry_name(explanation: Explanation, index: int) -> str:
    """The picture's name, and what is asked where there are several questions about it."""
    pictures = explanation.batch.pictures
    once = sum(picture is pictures[index] for picture in pictures) == 1
    name = source_name(explanation, index)
    return name if once else f"{name} · {explanation.target_names[index]}"


def number(value: float) -> str:
    """Three significant digits, with a real minus sign and no negative zero."""
    return f"{value or 0.0:.3g}".replace("-", "−")


def percent(share: float) -> str:
    """A share as "41 %", finer near the ends: "0.3 %", "99.5 %", "< 0.1 %"."""
    if not math.isfinite(share):
        return "not a number"
    size = abs(share)
    if 0 < size < 0.0005:
        return "< 0.1 %"
    plain = 0.095 <= size <= 0.905 or size in (0, 1)
    return f"{100 * share:.{0 if plain else 1}f} %"


def range_text(numbers: Statistics, signed: bool) -> str:
    """The range of values, and for signed maps how much speaks for and against."""
    text = f"{number(numbers.minimum)} to {number(numbers.maximum)}"
    if signed and not numbers.all_zero:
        text += f"; {percent(numbers.positive)} for, {percent(numbers.negative)} against"
    return text


def place_text(numbers: Statistics) -> str:
    """Where the evidence lies."""
    if numbers.peak is None or numbers.centre is None or numbers.half_area is None:
        return "nowhere: the map holds no evidence"
    across, down = map(percent, numbers.peak)
    middle_across, middle_down = map(percent, numbers.centre)
    return (
        f"strongest at {across} from the left, {down} from the top; "
        f"centre of mass at {middle_across}, {middle_down}; "
        f"half of the evidence lies in {percent(numbers.half_area)} of the picture"
    )


def brief_place_text(numbers: Statistics) -> str:
    """Where the evidence lies, in half the words."""
    if numbers.peak is None or numbers.half_area is None:
        return "no evidence anywhere"
    across, down = map(percent, numbers.peak)
    return (
        f"peak {across} across, {down} down; half lies in {percent(numbers.half_area)} of the area"
    )


def residual_text(explanation: Explanation, index: int = 0) -> str:
    """What is missing from the sum that the method promises; empty where it promises none."""
    if explanation.residual is None:
        return ""
    return f"{percent(abs(float(explanation.residual[index])))} missing from the promised sum"


def cost_text(cost: Cost) -> str:
    """The passes per picture and the seconds of the batch."""
    parts = [f"{_count(cost.forwards, 'forward')}, {_count(cost.backwards, 'backward')}"]
    parts += [f"{cost.shared:g} of them shared"] if cost.shared else []
    parts += [f"{cost.seconds:.2g} s"] if cost.seconds else []
    return " · ".join(parts)


def _count(passes: float, kind: str) -> str:
    return f"{passes:,g} {kind}{'' if passes == 1 else 's'}"


def remarks(numbers: Statistics) -> list[str]:
    """What a reader must know before trusting the picture of a map."""
    found = []
    if numbers.not_finite == numbers.count:
        return ["no value is finite: the whole map is striped"]
    if numbers.not_finite:
        share = percent(numbers.not_finite / numbers.count)
        found.append(f"{numbers.not_finite:,} values ({share}) are not finite: striped")
    if numbers.all_zero:
        found.append("every value is zero: the method found no evidence")
    elif numbers.minimum == numbers.maximum:
        found.append(f"every value is {number(numbers.minimum)}: the map is flat")
    return found


def smoothing_text(explanation: Explanation) -> str:
    """How the display differs from the values, or nothing where it does not."""
    sigma = display_sigma(explanation)
    return f"smoothed by σ {sigma:g} px; values are not" if sigma else ""
