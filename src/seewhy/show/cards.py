"""A self-contained HTML page of pictures, each on a card with a title and a few lines of text."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seewhy.show.encoding import data_uri
from seewhy.show.text import html

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; --line: #8884; --faint: #777; --warn: #b25a00 }}
@media (prefers-color-scheme: dark) {{ :root {{ --faint: #999; --warn: #f0a04b }} }}
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto }}
body {{ padding: 0 1rem }}
h1 {{ font-size: 1.5rem; margin: 0 0 .5rem; overflow-wrap: anywhere }}
header p {{ max-width: 46rem; margin: .3rem 0; overflow-wrap: anywhere }}
main {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)) }}
main {{ margin-top: 1.2rem }}
figure {{ margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden }}
figure img {{ display: block; width: 100%; aspect-ratio: 1; object-fit: contain }}
figcaption {{ padding: .5rem .7rem .6rem; overflow-wrap: anywhere }}
figcaption p {{ margin: .1rem 0 0; font-size: .82rem; color: var(--faint) }}
.weak p {{ color: var(--warn) }}
</style></head>
<body><header><h1>{title}</h1>{intro}</header>
<main>
{cards}
</main></body></html>
"""


@dataclass(frozen=True, eq=False)
class Card:
    """A picture with a title and lines below it; `weak` marks one that should not be relied on."""

    picture: Float[Tensor, "3 height width"]
    title: str
    lines: tuple[str, ...] = ()
    weak: bool = False


def page(title: str, intro: Sequence[str], cards: Sequence[Card]) -> str:
    """Return the page; texts may contain anything."""
    return PAGE.format(
        title=html(title),
        intro="".join(f"<p>{html(line)}</p>" for line in intro),
        cards="\n".join(map(_card, cards)),
    )


def _card(card: Card) -> str:
    lines = "".join(f"<p>{html(line)}</p>" for line in card.lines)
    name = html(card.title)
    return (
        f"<figure{' class=weak' if card.weak else ''}>"
        f'<img src="{data_uri(card.picture)}" alt="{name}" loading="lazy">'
        f"<figcaption>{name}{lines}</figcaption></figure>"
    )
