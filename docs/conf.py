"""Sphinx configuration of the site: `make docs`."""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for docs

from docs import docstrings, generate  # noqa: E402

project = "seewhy"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "seewhy"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False

myst_heading_anchors = 4


def _digest() -> str:
    """Return a short hash of all source files."""
    files = sorted((ROOT / "src").rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


nb_execution_mode = "cache"
# One cache per version of the code, so that outputs of older code are not shown.
nb_execution_cache_path = str(ROOT / "docs" / "_build" / "notebooks" / _digest())
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_output_stderr = "remove"  # library warnings, which contain local paths

default_role = "code"  # docstrings have single backticks
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 80


def setup(app):
    """Generate pages from the code, fix links, and convert lists in docstrings."""
    app.connect("builder-inited", lambda app: generate.write_methods())
    app.connect("source-read", _stay_on_the_site)
    app.connect("autodoc-process-docstring", docstrings.lists)


def _stay_on_the_site(app, name, source):
    """Redirect links to the benchmarks, which are outside docs, to the page that includes them."""
    source[0] = source[0].replace("../benchmarks/README.md", "benchmarks.md")
