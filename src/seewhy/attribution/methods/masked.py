"""The choice of score for methods that score masked pictures."""

from seewhy.attribution.method import check_choice

SCORES = ("logit", "probability")


def check_score(score: str) -> str:
    """Return the score if it is "logit" or "probability"; raises Unknown otherwise."""
    return check_choice("score", score, SCORES)
