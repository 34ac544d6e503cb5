"""The database server that the tests share."""

from collections.abc import Mapping

from izin.local import Postgres


class ForgetfulPostgres(Postgres):
    """A server that never waits for the disk.

    It is not restarted: a crash of the machine, which alone would lose data, ends the tests too.
    """

    def _settings(self, port: int) -> Mapping[str, object]:
        return {**super()._settings(port), "fsync": "off"}
