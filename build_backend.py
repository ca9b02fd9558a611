"""The build backend: setuptools, and mypyc as well where ``TXSOTER_MYPYC=1`` asks for compiled modules."""

from __future__ import annotations

import os
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

# mypyc is a part of mypy
_COMPILER = ["mypy>=2.4"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Return what the environment needs that wheels are built in."""
    found: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    return [*found, *_COMPILER] if os.environ.get("TXSOTER_MYPYC") == "1" else found
