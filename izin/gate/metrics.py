"""The metrics of the gate, and what operators should know of brands although it works: old data of
İYS, suspensions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from izin.consent import Channel
from izin.consent.may_send import PermissionReason
from izin.gate.state import GateState
from izin.gate.verdicts import ACTIVE, is_iys_current
from izin.runtime.settings import GateSettings
from izin.schemas.may_send_api import ReceiptKind

_MOST = 20
"""Of each kind are named; the rest is counted."""
_SECOND = timedelta(seconds=1)
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def iys_warnings(state: GateState, settings: GateSettings, now: datetime) -> Mapping[str, str]:
    """Return the channels of active brands for which İYS was not pulled for too long."""
    return _listed(_of_iys(state, settings, now), "iys of others")


def suspensions(state: GateState) -> Mapping[str, str]:
    """Return the brands for which an operator has suspended the messages, each with the reason."""
    found = (
        (f"brand {code}", f"suspended: {one.suspension}")
        for code, one in sorted(state.brands().items())
        if one.suspension is not None
    )
    return _listed(found, "other brands")


def _of_iys(state: GateState, settings: GateSettings, now: datetime) -> Iterator[tuple[str, str]]:
    for code, channel, pulled_at in _pulled(state):
        if is_iys_current(pulled_at, now, settings.iys_warns_after):
            continue
        is_closed = not is_iys_current(pulled_at, now, settings.iys_closes_after)
        text = (
            "never pulled"
            if pulled_at is None
            else f"last pulled {(now - pulled_at) // _SECOND} s ago"
        )
        yield f"iys {code}/{channel}", f"{text}; stale" if is_closed else text


def _pulled(state: GateState) -> Iterator[tuple[int, Channel, datetime | None]]:
    for code, brand in sorted(state.brands().items()):
        if brand.status == ACTIVE:
            for channel in Channel:
                yield code, channel, state.iys_pulled_at(code, channel)


def _listed(found: Iterator[tuple[str, str]], rest: str) -> Mapping[str, str]:
    named = dict(islice(found, _MOST))
    count = sum(1 for _ in found)
    return {**named, rest: f"{count} more"} if count else named


class GateMetrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(
        self, state: GateState, settings: GateSettings, clock: Callable[[], datetime]
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_StateCollector(state, settings, clock))
        self._requests = Counter(
            "izin_gate_requests",
            "Requests to the gate, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        verdicts = Counter(
            "izin_gate_verdicts",
            "Verdicts on recipients, by reason.",
            ["reason"],
            registry=self.registry,
        )
        receipts = Counter(
            "izin_gate_receipts",
            "Answers that were kept, by the kind of their receipt.",
            ["kind"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "izin_gate_request_seconds",
            "Time of answered requests to the gate, until the response is sent.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        # Looked up once: each look-up takes as long as a verdict.
        self._of_reason = {reason: verdicts.labels(str(reason)) for reason in PermissionReason}
        self._of_kind = {kind: receipts.labels(str(kind)) for kind in ReceiptKind}
        self._ok = self._requests.labels("200")

    def answered(self, seconds: float) -> None:
        """Count a request that was answered."""
        self._ok.inc()
        self._seconds.observe(seconds)

    def refused(self, status: int) -> None:
        """Count a request that was refused."""
        self._requests.labels(str(status)).inc()

    def judged(self, reasons: Mapping[PermissionReason, int]) -> None:
        """Count verdicts by reason."""
        for reason, count in reasons.items():
            self._of_reason[reason].inc(count)

    def kept(self, kind: ReceiptKind) -> None:
        """Count an answer whose receipt was written."""
        self._of_kind[kind].inc()


class _StateCollector(Collector):
    """What the state is at the moment of a scrape."""

    def __init__(
        self, state: GateState, settings: GateSettings, clock: Callable[[], datetime]
    ) -> None:
        self._state = state
        self._settings = settings
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        counts, now, settings = self._state.counts(), self._clock(), self._settings
        pulled = [pulled_at for _, _, pulled_at in _pulled(self._state)]
        late, closed = (
            sum(not is_iys_current(one, now, most) for one in pulled)
            for most in (settings.iys_warns_after, settings.iys_closes_after)
        )
        for name, about, value in (
            ("izin_gate_keys", "Keys of which anything is known.", counts.keys),
            (
                "izin_gate_undecided_opt_outs",
                "Opt-outs that were read from an input topic and are not decided yet.",
                counts.undecided,
            ),
            (
                "izin_gate_unreadable_records",
                "Records that could not be read, since the start.",
                counts.unreadable,
            ),
            ("izin_gate_state_bytes", "Memory of what is known of keys.", counts.bytes),
            (
                "izin_gate_iys_late_channels",
                "Active brands' channels, İYS not pulled within IZIN_GATE_IYS_WARNS_AFTER.",
                late,
            ),
            (
                "izin_gate_iys_closed_channels",
                "The same for IZIN_GATE_IYS_CLOSES_AFTER: their recipients are stale.",
                closed,
            ),
        ):
            yield GaugeMetricFamily(name, about, value)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the state is not read where the collector is registered."""
        return ()
