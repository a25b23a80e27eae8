"""Sphinx builds the pages of this folder: ``tox -e docs``, or ``sphinx-build -W docs docs/_build``."""

from __future__ import annotations

import os

# The sources know their comments and annotations; what Cython made of them does not.
os.environ["FASTWS_COMPILED"] = "0"

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

from fastws import __version__

# Pygments knows no such files.
lexers["haproxy"] = TextLexer()

project = "fastws"
author = "the fastws contributors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "style"]
nitpicky = True
# Names in signatures that have no page: Python's own (the build needs no network, so nothing links to its
# documentation) and our internal ones. What begins with "fastws." and is public has to be in the reference.
nitpick_ignore_regex = [
    ("py:class", r"(?!fastws\.).*"),
    ("py:class", r"fastws\.[a-z]\w+\..*"),
    ("py:exc", r"(?!fastws\.).*"),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

napoleon_numpy_docstring = False

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
maximum_signature_line_length = 88
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"fastws {__version__}"
html_static_path = ["style"]
html_css_files = ["fastws.css"]
smartquotes = False  # "--" is the beginning of an option
html_show_sphinx = False
