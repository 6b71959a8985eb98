"""What is wrong with a command, in one line that names the way out."""

from typing import Literal, get_args, get_origin

import cyclopts
from cyclopts import CycloptsError

from seewhy.errors import nearest

KINDS = {int: "a whole number", float: "a number", bool: "nothing"}


def sentence(error: CycloptsError) -> str:
    """The error in the words of `SeewhyError`: what was expected, what came, what to do."""
    command = " ".join(error.command_chain or ())
    way_out = f"see {' '.join(('seewhy', *(error.command_chain or ()), '--help'))}"
    match error:
        case cyclopts.UnknownCommandError():
            return _unknown_command(error, way_out)
        case cyclopts.UnknownOptionError():
            return _unknown_option(error, way_out)
        case cyclopts.CoercionError():
            return _wrong_value(error, way_out)
        case cyclopts.MissingArgumentError() if error.argument is not None:
            name = error.keyword or error.argument.name
            needs = f"{name} needs a value" if name.startswith("-") else f"{command} needs {name}"
            return f"{needs}; {way_out}"
        case cyclopts.UnusedCliTokensError():
            return f"{(error.unused_tokens or ['?'])[0]!r} is one word too many; {way_out}"
        case cyclopts.RepeatArgumentError():
            return f"{error.token.keyword} is given more than once; give it once"
    return f"{' '.join(str(error).split()).rstrip('.')}; {way_out}"


def _unknown_command(error: CycloptsError, way_out: str) -> str:
    word = (error.unused_tokens or ["?"])[0]
    commands = [name for name in error.app or () if not name.startswith("-")]
    if word.startswith("-"):
        return f"unknown option {word}; {way_out}"
    near = nearest(word, commands, most=1)
    offer = f"did you mean {near[0]}?" if near else f"there are {', '.join(commands)}"
    return f"unknown command {word!r}; {offer}"


def _unknown_option(error: cyclopts.UnknownOptionError, way_out: str) -> str:
    word = error.token.keyword or error.token.value
    names = [name for argument in error.argument_collection for name in argument.names]
    options = [name.removeprefix("--") for name in names if name.startswith("--")]
    near = nearest(word.removeprefix("--"), options, most=1)
    return f"unknown option {word}; {f'did you mean --{near[0]}?' if near else way_out}"


def _wrong_value(error: cyclopts.CoercionError, way_out: str) -> str:
    if error.token is None or error.argument is None:
        return f"{' '.join(str(error).split()).rstrip('.')}; {way_out}"
    name = error.token.keyword or error.argument.name
    choices = get_args(error.target_type) if get_origin(error.target_type) is Literal else ()
    if choices:
        near = nearest(error.token.value, choices, most=1)
        offer = f"did you mean {near[0]}?" if near else way_out
        return f"{name} takes {' or '.join(choices)}, not {error.token.value!r}; {offer}"
    kind = next((words for t, words in KINDS.items() if error.target_type is t), "another value")
    return f"{name} takes {kind}, not {error.token.value!r}; {way_out}"
