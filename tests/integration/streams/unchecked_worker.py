"""An order worker that found its topics right, and whose brokers are gone a moment later."""

from unittest import mock

from izin.streams.__main__ import main
from izin.streams.engine import app

if __name__ == "__main__":
    with mock.patch.object(app, "topic_faults", return_value=()):
        main()
