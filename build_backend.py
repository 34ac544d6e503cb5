"""Builds izin with setuptools: a pure Python wheel, or a compiled one where ``IZIN_COMPILE`` is 1.

A pure wheel takes seconds and fits every machine. A compiled one takes minutes, a C compiler and
mypy, which therefore is required of that build alone (see ``setup.py``).
"""

import os

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = (
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "is_compiled",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
)

COMPILER = "mypy==2.4.1"
"""Its mypyc compiles; the version that checks the types, as ``constraints.txt`` has it."""


def is_compiled() -> bool:
    """Whether the environment asks for a compiled wheel; ends the build where it is unclear."""
    asked = os.environ.get("IZIN_COMPILE", "")
    if asked not in {"", "0", "1"}:
        raise SystemExit(f"IZIN_COMPILE is {asked!r}: set it to 1 for a compiled wheel, or to 0")
    return asked == "1"


def get_requires_for_build_wheel(
    config_settings: dict[str, str | list[str] | None] | None = None,
) -> list[str]:
    """Return what the build of the wheel needs beside ``pyproject.toml`` (PEP 517)."""
    needed = build_meta.get_requires_for_build_wheel(config_settings)
    return [*needed, COMPILER] if is_compiled() else needed
