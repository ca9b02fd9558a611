"""Sphinx: the documentation site. `sphinx-build -W -E docs build/site`, then open build/site/index.html."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "txsoter"
author = "the txsoter developers"
version = release = version_of("txsoter")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "declared_tables",
    "diagrams",
    "public_names",
]

exclude_patterns = ["extensions"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "txsoter"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
# their fonts and colours are those of the theme, light and dark
pygments_style = "friendly"
pygments_dark_style = "monokai"

autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# a signature that is longer than that has a line for each parameter
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# a reference to a public name must lead somewhere; those to other projects and to internal types need not
nitpicky = True
_PUBLIC = "|".join(sorted(each.stem for each in Path(__file__).with_name("api").glob("txsoter*.md")))
nitpick_ignore_regex = [
    ("py:.*", r"(?!txsoter\b).*"),
    ("py:.*", rf"(?!({_PUBLIC})\.[A-Z]\w+$)txsoter(\.[a-z_]+)+\.[A-Z_]\w*"),
    ("py:(mod|func)", r"txsoter\.(capture\.records|core\.rules\.make_dispatch_table)"),
]
