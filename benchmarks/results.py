"""The figures of a run, kept as JSON for whoever compares runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console


def keep(results: Path, console: Console, figures: Mapping[str, Any]) -> None:
    """Write ``figures`` to the file ``results``, and say so."""
    results.parent.mkdir(parents=True, exist_ok=True)
    told = json.dumps(figures, ensure_ascii=False, indent=2)
    results.write_text(told + "\n", encoding="utf-8")
    console.print(f"kept in {results}")
