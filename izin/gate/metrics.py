"""The metrics of the gate."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from izin.consent.may_send import PermissionReason
from izin.gate.health_warnings import late_channels
from izin.gate.state import GateState
from izin.runtime.settings import GateSettings
from izin.schemas.may_send_api import ReceiptKind

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


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
        self._of_reason = {one: verdicts.labels(str(one)) for one in PermissionReason}
        self._of_kind = {one: receipts.labels(str(one)) for one in ReceiptKind}
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
        late = [
            late_channels(self._state, now, most)
            for most in (settings.iys_warns_after, settings.iys_closes_after)
        ]
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
                late[0],
            ),
            (
                "izin_gate_iys_closed_channels",
                "The same for IZIN_GATE_IYS_CLOSES_AFTER: their recipients are stale.",
                late[1],
            ),
        ):
            yield GaugeMetricFamily(name, about, value)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the state is not read where the collector is registered."""
        return ()
