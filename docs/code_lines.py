"""Count the lines of code of a file, or of one class or function in it."""

import ast
import io
import tokenize

LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str, name: str = "") -> int:
    """Count the lines that hold code: neither blank, nor only a comment, nor in a docstring.

    - `name`: a class or function at the top level of the source; "" counts the whole source.
    """
    tree = ast.parse(source)
    lines = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines |= _rows(token.start[0], token.end[0])
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            lines -= _rows(node.body[0].lineno, node.body[0].end_lineno)
    return len(lines & _part(tree, name)) if name else len(lines)


def _part(tree: ast.Module, name: str) -> set[int]:
    """Return the line numbers of a class or function, including its decorators."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            return _rows(first, node.end_lineno)
    raise ValueError(f"no class or function {name} at the top level")


def _rows(first: int, last: int | None) -> set[int]:
    return set(range(first, (last or first) + 1))
