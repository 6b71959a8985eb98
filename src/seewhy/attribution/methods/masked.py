"""What methods share that look at scores of changed pictures: the number that is scored."""

from seewhy.attribution.method import check_choice

SCORES = ("logit", "probability")


def check_score(score: str) -> str:
    """ "logit" or "probability", else raises Unknown."""
    return check_choice("score", score, SCORES)
