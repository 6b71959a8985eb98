"""Describe errors in a command in one line that says what to do."""

from typing import Literal, get_args, get_origin

import cyclopts
from cyclopts import CycloptsError

from seewhy.errors import nearest

KINDS = {int: "must be a whole number", float: "must be a number", bool: "takes no value"}


def sentence(error: CycloptsError) -> str:
    """Return the message of an error: what was expected, what was given, and what to do."""
    command = " ".join(error.command_chain or ())
    hint = f"see {' '.join(('seewhy', *(error.command_chain or ()), '--help'))}"
    match error:
        case cyclopts.UnknownCommandError():
            return _unknown_command(error, hint)
        case cyclopts.UnknownOptionError():
            return _unknown_option(error, hint)
        case cyclopts.CoercionError():
            return _wrong_value(error, hint)
        case cyclopts.MissingArgumentError() if error.argument is not None:
            name = error.keyword or error.argument.name
            needs = f"{name} needs a value" if name.startswith("-") else f"{command} needs {name}"
            return f"{needs}; {hint}"
        case cyclopts.UnusedCliTokensError():
            return f"unexpected argument {(error.unused_tokens or ['?'])[0]!r}; {hint}"
        case cyclopts.RepeatArgumentError():
            return f"{error.token.keyword} is given more than once; give it once"
    return f"{' '.join(str(error).split()).rstrip('.')}; {hint}"


def _unknown_command(error: CycloptsError, hint: str) -> str:
    word = (error.unused_tokens or ["?"])[0]
    commands = [name for name in error.app or () if not name.startswith("-")]
    if word.startswith("-"):
        return f"unknown option {word}; {hint}"
    near = nearest(word, commands, most=1)
    offer = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(commands)}"
    return f"unknown command {word!r}; {offer}"


def _unknown_option(error: cyclopts.UnknownOptionError, hint: str) -> str:
    word = error.token.keyword or error.token.value
    names = [name for argument in error.argument_collection for name in argument.names]
    options = [name.removeprefix("--") for name in names if name.startswith("--")]
    near = nearest(word.removeprefix("--"), options, most=1)
    return f"unknown option {word}; {f'did you mean --{near[0]}?' if near else hint}"


def _wrong_value(error: cyclopts.CoercionError, hint: str) -> str:
    if error.token is None or error.argument is None:
        return f"{' '.join(str(error).split()).rstrip('.')}; {hint}"
    name = error.token.keyword or error.argument.name
    choices = get_args(error.target_type) if get_origin(error.target_type) is Literal else ()
    if choices:
        near = nearest(error.token.value, choices, most=1)
        offer = f"did you mean {near[0]}?" if near else hint
        return f"{name} must be {' or '.join(choices)}, not {error.token.value!r}; {offer}"
    expected = next(
        (words for t, words in KINDS.items() if error.target_type is t), "must be another value"
    )
    return f"{name} {expected}, not {error.token.value!r}; {hint}"
