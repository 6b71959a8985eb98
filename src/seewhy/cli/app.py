"""The commands, put together; each is imported when it is run, since torch takes its time."""

import ast
from pathlib import Path

from cyclopts import App

from seewhy.version import __version__

COMMANDS = (
    "explaining:explain",
    "comparing:compare",
    "listing:methods",
    "listing:models",
    "listing:layers",
    "check:check",
    "sufficiency:sufficiency",
    "channel_selectivity:channel_selectivity",
    "extremal_channels:extremal_channels",
    "relevant_channels:relevant_channels",
    "demo:demo",
)

app = App(
    name="seewhy",
    help="See why your vision model decides as it does, and whether you can trust the answer.",
    help_epilogue="With --debug, any command shows where in the code an error came from.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def _description(module: str, function: str) -> str:
    """The function's docstring up to its parameters, read without importing the module."""
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    (found,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return (ast.get_docstring(found) or "").partition("\nParameters\n")[0].strip()


for command in COMMANDS:
    app.command(f"seewhy.cli.{command}", help=_description(*command.split(":")))
app.register_install_completion_command(add_to_startup=False)
