"""``python -m izin.console``: the command ``izin``."""

from izin.console.entry import main

if __name__ == "__main__":
    main()
