"""Addresses of layers, units and positions: `layer4.1`, `layer4.1:42`, `features.12:42@3,5`.

    layer[#call][:channel][@row,column]

`call` selects one use of a layer that runs several times (`relu#0` is the first). Without it, an
address means the last call when it is read, and every call when it is edited.
"""

import re
from dataclasses import dataclass

from seewhy.errors import SeewhyError

LISTED = "`seewhy layers -m MODEL` lists them"

_FORM = re.compile(
    r"(?P<layer>[^#:@]+)(#(?P<call>\d{1,9}))?(:(?P<channel>\d{1,9}))?"
    r"(@(?P<row>\d{1,9}),(?P<column>\d{1,9}))?"
)


@dataclass(frozen=True)
class Address:
    """A layer, channel or position in a network; see the module docstring for the syntax."""

    layer: str
    call: int | None = None
    channel: int | None = None
    position: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: "str | Address") -> "Address":
        """Parse the text of an address; raises SeewhyError if it has another form."""
        if isinstance(text, Address):
            return text
        match = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
        if not match:
            raise SeewhyError(
                f"cannot read the address {text!r}; write layer, layer:channel or "
                "layer:channel@row,column, such as features.12:42@3,5"
            )
        number = {
            k: None if v is None else int(v)
            for k, v in match.groupdict(None).items()
            if k != "layer"
        }
        row, column = number["row"], number["column"]
        position = None if row is None or column is None else (row, column)
        return cls(match["layer"], number["call"], number["channel"], position)

    def __str__(self) -> str:
        call = "" if self.call is None else f"#{self.call}"
        channel = "" if self.channel is None else f":{self.channel}"
        position = "" if self.position is None else "@{},{}".format(*self.position)
        return f"{self.layer}{call}{channel}{position}"
