"""How sphinx builds the site: `make docs`."""

project = "seewhy"
extensions = ["myst_nb"]
html_theme = "furo"
html_title = "seewhy"
exclude_patterns = ["_build"]
nb_execution_mode = "off"
myst_heading_anchors = 4
# Links to folders beside docs lead nowhere on the site; code may be pseudocode.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]
