"""``python -m izin.console``: the command ``izin``."""

from __future__ import annotations

from izin.console.cli import main

if __name__ == "__main__":
    main()
