"""The command-line app; a command is imported when it runs, because importing torch is slow."""

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
    "visualizing:visualize",
    "examples:examples",
    "inverting:invert",
    "inpainting:inpaint",
    "demo:demo",
)

app = App(
    name="seewhy",
    help="See why your vision model decides as it does, and whether you can trust the answer.",
    help_epilogue="With --debug, any command shows the traceback of an error. The exit status is 0 "
    "if all is done, 1 after an error in seewhy, 2 after one that you can correct or if pictures "
    "were left out, 130 or 143 if interrupted or terminated, 141 if nobody reads what is printed.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def _description(module: str, function: str) -> str:
    """Return the docstring up to "Parameters", read without importing the module."""
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    (definition,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return (ast.get_docstring(definition) or "").partition("\nParameters\n")[0].strip()


for command in COMMANDS:
    app.command(f"seewhy.cli.{command}", help=_description(*command.split(":")))
app.register_install_completion_command(add_to_startup=False)
