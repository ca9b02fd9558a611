"""A page in one piece: style and script in it, allowed by their hashes, and nothing else."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from twisted.web.server import Request

from txsoter.service.web.pages import send

__all__ = ["one_piece", "send_page"]


@lru_cache(maxsize=8)
def one_piece(package: str, html_name: str, style_name: str, *script_names: str) -> tuple[bytes, bytes]:
    """Return a page with its style and script in it, and the policy that lets a browser run and fetch these alone.

    :param package: whose files they are.
    :param html_name: has ``/* style */`` and ``/* script */`` where the others belong.
    :param script_names: scripts that become one.
    """
    folder = files(package)
    html = folder.joinpath(html_name).read_text("utf-8")
    hashes = []
    for mark, names in (("/* style */", (style_name,)), ("/* script */", script_names)):
        text = "".join(folder.joinpath(name).read_text("utf-8") for name in names)
        html = html.replace(mark, text)
        hashes.append(b64encode(sha256(text.encode()).digest()).decode())
    style, script = hashes
    policy = {
        "default-src": "'none'",
        "style-src": f"'sha256-{style}'",
        "script-src": f"'sha256-{script}'",
        "img-src": "data:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        # no text can become markup: a browser refuses innerHTML and the like
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return html.encode(), "; ".join(f"{name} {value}" for name, value in policy.items()).encode()


def send_page(request: Request, page: tuple[bytes, bytes]) -> int:
    """Answer with a page of :func:`one_piece`."""
    html, policy = page
    request.setHeader(b"Content-Security-Policy", policy)
    return send(request, b"text/html; charset=utf-8", html)
