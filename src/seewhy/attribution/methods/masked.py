"""What methods share that look at scores of changed pictures: the number that is scored."""

from seewhy.errors import Unknown

SCORES = ("logit", "probability")


def check_score(score: str) -> str:
    """ "logit" or "probability", else raises Unknown."""
    if score not in SCORES:
        raise Unknown("score", score, SCORES, hint="logit or probability")
    return score
