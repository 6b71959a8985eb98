"""The families of attribution methods, in reading order."""

from collections.abc import Sequence

from seewhy.attribution.explanation import Explanation

# Families, and the methods within a family, start with the most informative at first sight.
FAMILIES: dict[str, tuple[str, ...]] = {
    "Class activation maps": (
        "grad-cam", "layer-cam", "hires-cam", "grad-cam++", "xgrad-cam", "cam", "score-cam",
        "ablation-cam", "fullgrad", "eigen-cam",
    ),
    "Attention": ("gradient-rollout", "attention-rollout"),
    "Change the input and watch": ("occlusion", "rise", "kernel-shap", "lime"),
    "The smallest part that suffices": ("extremal-perturbation", "meaningful-perturbation"),
    "Gradients of the score": (
        "integrated-gradients", "smoothgrad", "input-x-gradient", "gradient",
    ),
    "Layer-wise relevance propagation": (
        "lrp-epsilon-plus-flat", "lrp-epsilon-plus", "lrp-epsilon-alpha2-beta1-flat",
        "lrp-epsilon-alpha2-beta1", "lrp-epsilon-gamma-box", "lrp-epsilon", "lrp",
    ),
    "Differences from a baseline, layer by layer": ("deep-lift",),
    "Excitation backpropagation": ("contrastive-excitation-backprop", "excitation-backprop"),
    "Other ways back through a rectifier": ("guided-backprop", "deconvnet"),
}  # fmt: skip
OTHERS = "Other methods"  # defined by users


def by_family(explanations: Sequence[Explanation]) -> dict[str, list[Explanation]]:
    """Group explanations by the title of their family, with both in reading order."""
    ranks = {name: rank for names in FAMILIES.values() for rank, name in enumerate(names)}
    grouped = {
        title: [e for e in explanations if e.method in names] for title, names in FAMILIES.items()
    }
    grouped[OTHERS] = [e for e in explanations if e.method not in ranks]
    ordered = {t: sorted(g, key=lambda e: ranks.get(e.method, 0)) for t, g in grouped.items()}
    return {title: group for title, group in ordered.items() if group}


def in_turns(explanations: Sequence[Explanation]) -> list[Explanation]:
    """Return the first method of every family, then the second of every family, and so on."""
    families = list(by_family(explanations).values())
    ranks = range(max(map(len, families), default=0))
    return [group[rank] for rank in ranks for group in families if rank < len(group)]
