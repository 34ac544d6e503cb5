"""The settings of the other servers: the ledger's PostgreSQL, and İYS."""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cached_property

from pydantic import Field, SecretStr

from izin.consent.business_days import Calendar
from izin.runtime.setting_rules import checks
from izin.runtime.setting_rules.group import SettingsGroup


class LedgerSettings(SettingsGroup):
    """The PostgreSQL database of the ledger, and the calendar for terms."""

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    pool_size: int = Field(8, ge=1, validation_alias="IZIN_DATABASE_POOL_SIZE")
    transaction_limit: timedelta = Field(
        timedelta(minutes=2),
        ge=timedelta(seconds=1),
        validation_alias="IZIN_DATABASE_TRANSACTION_LIMIT",
    )
    """How long a transaction may take. Then its connection is cut, and the work done again."""
    extra_closed_days: tuple[date, ...] = Field((), validation_alias="IZIN_EXTRA_CLOSED_DAYS")
    """Days that are no business days besides the public holidays, such as administrative leave:
    ``["2026-05-25"]``. The same for every process; a term that was counted before keeps its end
    until its record changes, its brand is added again, or ``izin deadlines rule-again``."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse a ``DATABASE_URL`` without ``sslmode=verify-full`` or ``verify-ca``, unless its host
    is the folder of a Unix socket."""

    @cached_property
    def calendar(self) -> Calendar:
        """Turkey's calendar with these days; raises OutsideCalendarError."""
        return Calendar(extra_closed_days=frozenset(self.extra_closed_days))

    def faults(self) -> Iterator[str]:
        """Yield what is refused in production."""
        if self.production:
            # Only processes with a ledger need psycopg.
            from izin.runtime.setting_rules.database_checks import plain_database  # noqa: PLC0415  # see above

            yield from plain_database(self.database_url.get_secret_value())


class IysSettings(SettingsGroup):
    """The connection to İYS, and the delays it imposes (shortened only against a simulator)."""

    base_url: str = Field("https://api.iys.org.tr", validation_alias="IYS_BASE_URL")
    username: str = Field(validation_alias="IYS_USERNAME")
    password: SecretStr = Field(validation_alias="IYS_PASSWORD")
    integrator_code: int | None = Field(None, ge=1, validation_alias="IYS_INTEGRATOR_CODE")
    """The business partner's own number at İYS, whose list of granted brands is read; none: the
    account is a provider's own."""
    timeout: timedelta = Field(timedelta(seconds=20), validation_alias="IYS_TIMEOUT")
    requests_per_second: float = Field(10, gt=0, validation_alias="IYS_REQUESTS_PER_SECOND")
    token_requests_per_hour: int = Field(10, ge=1, validation_alias="IYS_TOKEN_REQUESTS_PER_HOUR")
    result_delay: timedelta = Field(timedelta(seconds=300), validation_alias="IYS_RESULT_DELAY")
    """How long after its submission the result of a batch is polled first (İYS: 300 s)."""
    hidden_window: timedelta = Field(timedelta(hours=1), validation_alias="IYS_HIDDEN_WINDOW")
    """How recent movements are that pull does not show yet (İYS: 60 minutes)."""
    egress_address: str = Field("default", validation_alias="IYS_EGRESS_ADDRESS")
    """The name of the address that calls come from; all processes behind it share its limits."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse an ``IYS_BASE_URL`` on ``http://``."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the URL."""
        remedy = "take it out and set IYS_USERNAME and IYS_PASSWORD"
        yield from checks.url_faults(self.given, "IYS_BASE_URL", remedy)
        if self.production:
            yield from checks.plain_url(self.given, "IYS_BASE_URL")
