"""Directive ``diagram``: an SVG file of ``docs/diagrams``, inline, so that it takes the theme's colours.

On a narrow screen it keeps its size, and can be moved sideways.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["setup"]


class Diagram(SphinxDirective):
    """A diagram, by the name of its file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the SVG in a box of its own."""
        file = Path(self.env.srcdir) / "diagrams" / f"{self.arguments[0]}.svg"
        self.env.note_dependency(file)
        return [nodes.raw("", f'<div class="diagram">{file.read_text(encoding="utf-8")}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("diagram", Diagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
