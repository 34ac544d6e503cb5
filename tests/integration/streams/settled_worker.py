"""An order worker that has worked for long already: another one of its name comes second."""

from izin.streams.__main__ import main
from izin.streams.engine import watches

if __name__ == "__main__":
    watches.SETTLED_AFTER = 0.0
    main()
