"""``python -m izin.cli``: the command ``izin``."""

from izin.cli.entry import main

if __name__ == "__main__":
    main()
