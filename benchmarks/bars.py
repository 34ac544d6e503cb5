"""Every figure that the project claims: what it measures, its bar, and the run that measures it.

A bar is a ratio within one run or a limit. A figure that is not measured misses its bar.
"""

from dataclasses import dataclass
from enum import StrEnum

RUNS: dict[str, tuple[str, ...]] = {
    "law": ("law",),
    "state": ("state",),
    "order": ("order",),
    "profile": ("profile",),
    "publisher": ("publisher",),
    "light-install": ("light-install",),
    "demo": ("demo",),
    "before": ("before",),
    "latency": ("latency",),
    "feeds": ("feeds",),
    "restart": ("restart",),
    "passes": ("passes",),
    "rebuild": ("rebuild",),
    "poison": ("poison",),
    "redrive": ("redrive",),
    "sink": ("sink", "--keys", "5000000", "--ingested", "80000", "--trials", "20"),
    "known-keys": ("known-keys",),
    "outbox": ("outbox",),
    "crm-outbox": ("crm-outbox",),
    "erasure": ("erasure",),
    "retention": ("retention",),
    "daily-file": ("daily-file",),
    "ledger-rebuild": ("ledger-rebuild",),
    "reconcile": ("reconcile",),
    "evidence": ("evidence",),
    "verify-hostile": ("verify-hostile",),
    "ledger-lost": ("ledger-lost",),
    "connect": ("connect",),
    "sweep": ("sweep",),
    "rate-limit": ("rate-limit", "--opt-outs", "0"),
    "rate-limit-steady": ("rate-limit", "--opt-outs", "0", "--jitter", "0"),
    "rate-limit-degraded": (
        *("rate-limit", "--opt-outs", "0", "--refused", "0.05", "--failing", "0.02"),
    ),
    "opt-out-backlog": ("rate-limit", "--consents", "700000"),
    "simulator": ("simulator",),
    "webhooks": ("webhooks",),
    "webhook-throughput": ("webhook-throughput",),
    "webhook-memory": ("webhook-memory",),
    "permission-list": ("permission-list",),
    "intake": ("intake",),
    "sms-ret": ("sms-ret",),
    "gate": ("gate",),
    "gate-state": ("gate-state",),
    "gate-scrub": ("gate-scrub",),
    "gate-backlog": ("gate-backlog",),
    "import-csv": ("import-csv",),
    "import-xlsx": ("import-xlsx",),
    "push-latency": ("push-latency",),
    "console": ("console",),
    "idle": ("idle",),
    "help": ("help",),
}
"""The runs of ``make bench``: a name, and the command of ``python -m benchmarks`` with options."""

OTHER_RUNS = {
    "chaos-order": "make chaos STAGE=order",
    "chaos-sink": "make chaos STAGE=sink",
    "chaos-days": "make chaos STAGE=days",
    "chaos-outage": "make chaos STAGE=outage",
    "chaos-onboarding": "make chaos STAGE=onboarding",
    "chaos-webhooks": "make chaos STAGE=webhooks",
    "chaos-outbox": "make chaos STAGE=outbox",
    "chaos-gate": "make chaos STAGE=gate",
    "chaos-reconcile": "make chaos STAGE=reconcile",
    "chaos-access": "make chaos STAGE=access",
    "chaos-alerts": "make chaos STAGE=alerts",
    "chaos-inbound": "make chaos STAGE=inbound",
    "chaos-files": "make chaos STAGE=files",
    "chaos-property": "make chaos STAGE=property",
    "chaos-late": "make chaos STAGE=late",
    "chaos-hostile": "make chaos STAGE=hostile",
    "chaos-words": "make chaos STAGE=words",
    "chaos-forgery": "make chaos STAGE=forgery",
    "chaos-requests": "make chaos STAGE=requests",
    "chaos-console": "make chaos STAGE=console",
    "chaos-intake": "make chaos STAGE=intake",
    "chaos-bodies": "make chaos STAGE=bodies",
    "chaos-upgrade": "make chaos STAGE=upgrade",
    "chaos-drill": "make drill NAME=kafka-lost",
    "mutants": "make mutants",
    "browser": "make browser",
}
"""Runs that are no benchmarks, and their commands."""


class BarSide(StrEnum):
    """The side of its bar on which a figure must be; the bar itself is met."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureBar:
    """One figure and its bar."""

    name: str
    run: str
    measures: str
    comparison: BarSide
    limit: float
    unit: str = ""
    options: tuple[str, ...] = ()
    """Narrow the run to what this figure alone needs."""

    @property
    def bar(self) -> str:
        """The bar in words, as ``≤ 25 µs``."""
        return f"{self.comparison} {self.show(self.limit)}"

    @property
    def command(self) -> str:
        """The command that measures the figure."""
        return OTHER_RUNS.get(self.run, f"make bench ONLY={self.name}")

    def show(self, value: float | None) -> str:
        """Return ``value`` with its unit, rounded to the precision of the bar."""
        if value is None:
            return "not measured"
        digits = 0 if value == int(value) or abs(value) >= 10_000 else 1 if abs(value) >= 100 else 2  # noqa: PLR2004 - digits
        return f"{value:,.{digits}f} {self.unit}".rstrip()

    def is_met(self, value: float | None) -> bool:
        """Return whether ``value`` meets the bar; None (not measured) does not."""
        if value is None:
            return False
        return value >= self.limit if self.comparison is BarSide.AT_LEAST else value <= self.limit

    def verdict(self, value: float | None) -> str:
        """Return the line ``<name>: <value> (bar <bar>) ok``, or ``short`` where it is missed."""
        word = "ok" if self.is_met(value) else "short"
        return f"{self.name}: {self.show(value)} (bar {self.bar}) {word}"


def _at_least(
    name: str, run: str, limit: float, unit: str, measures: str, *options: str
) -> FigureBar:
    return FigureBar(
        name=name,
        run=run,
        measures=measures,
        comparison=BarSide.AT_LEAST,
        limit=limit,
        unit=unit,
        options=options,
    )


def _at_most(
    name: str, run: str, limit: float, unit: str, measures: str, *options: str
) -> FigureBar:
    return FigureBar(
        name=name,
        run=run,
        measures=measures,
        comparison=BarSide.AT_MOST,
        limit=limit,
        unit=unit,
        options=options,
    )


_SAME_WORK = ("--contender", "izin-latest-wins", "--contender")

_ALL = (
    _at_most("law-cpu", "law", 6, "µs", "CPU to admit and decide an event"),
    _at_most("state-memory", "state", 200, "MB", "a million keys packed in memory"),
    _at_most("state-get", "state", 2, "µs", "CPU to get a key packed in memory"),
    _at_least(
        *("order-speed-flink", "order", 1.2, "x", "events/s to Flink, heap, a checkpoint a second"),
        *(*_SAME_WORK, "flink-heap"),
    ),
    _at_most(
        *("order-cpu-flink", "order", 0.85, "x", "CPU an event to the same Flink"),
        *(*_SAME_WORK, "flink-heap"),
    ),
    _at_least(
        *("order-everything-flink", "order", 0.5, "x", "one worker with everything on to it"),
        *("--contender", "izin", "--contender", "flink-heap"),
    ),
    _at_least(
        *("order-speed-kafka-streams", "order", 1.2, "x", "events/s to Kafka Streams' EOS"),
        *(*_SAME_WORK, "streams-eos"),
    ),
    _at_most(
        *("order-cpu-kafka-streams", "order", 0.8, "x", "CPU an event to Kafka Streams' EOS"),
        *(*_SAME_WORK, "streams-eos"),
    ),
    _at_least(
        *("order-speed-faust", "order", 15, "x", "events/s to Faust's table and send"),
        *(*_SAME_WORK, "faust-table"),
    ),
    _at_least(
        *("order-speed-quix", "order", 2.5, "x", "events/s to Quix Streams"),
        *(*_SAME_WORK, "quix"),
    ),
    _at_least("order-events", "order", 35_000, "events/s", "everything on", "--contender", "izin"),
    _at_most("order-cpu", "order", 20, "µs", "CPU of an event so", "--contender", "izin"),
    _at_most("order-fetch", "profile", 3, "µs", "CPU to fetch and unpack an event"),
    _at_least(
        "publisher", "publisher", 0.4, "x", "events/s to a bare client that validates nothing"
    ),
    _at_most("light-install", "light-install", 33, "%", "packages, MB, seconds of everything"),
    _at_most(
        *("light-install-seconds", "light-install", 15, "s"),
        "`pip install .` in a checkout, with pip's cache",
    ),
    _at_most("light-import", "light-install", 0.3, "s", "import of the publishing library"),
    _at_least(
        "before-order", "before", 95, "%", "of the order stage's speed before the rooms moved"
    ),
    _at_least("before-ingest", "before", 95, "%", "the same of ingest"),
    _at_least("before-gate", "before", 95, "%", "the same of the gate, to a bare endpoint"),
    _at_least("before-webhooks", "before", 95, "%", "the same of webhooks, to bare httpx"),
    _at_most("demo", "demo", 60, "s", "the whole demo, once everything is installed"),
    _at_most("latency-idle-p50", "latency", 30, "ms", "published until readable, either lane"),
    _at_most("latency-idle-p99", "latency", 20, "ms", "published until readable, either lane"),
    _at_most("latency-backlog-p99", "latency", 150, "ms", "the express lane under a backlog"),
    _at_most("feeds", "feeds", 300, "ms", "an opt-out at 20 clients that wait for it, p99"),
    _at_most("restart-warm", "restart", 3, "s", "until ready with the state kept on disk"),
    _at_most("restart-cold", "restart", 30, "s", "until ready with nothing but the topic"),
    _at_least("replay-events", "passes", 35_000, "events/s", "the slowest of three passes"),
    _at_most("replay-states", "passes", 1, "", "different final states of three passes"),
    _at_least("replay", "rebuild", 35_000, "events/s", "a worker decides again for a rebuild"),
    _at_most("poison-cost", "poison", 3, "%", "speed lost to 1 undecodable record in 1,000"),
    _at_least("redrive", "redrive", 2000, "letters/s", "10,000 dead letters redriven, all of it"),
    _at_least("ingest-rows", "sink", 20_000, "rows/s", "decisions on new keys ingested"),
    _at_least("known-keys", "known-keys", 8_000, "rows/s", "changes of known keys among 5 M"),
    _at_least("settle-rows", "sink", 10_000, "rows/s", "saved opt-ins settled, 1,000 at a time"),
    _at_most("history-bytes", "sink", 450, "bytes", "an entry with its indexes"),
    _at_most(
        "outbox-read", "outbox", 3, "x", "a read after a million delivered rows to an empty one"
    ),
    _at_most("crm-outbox", "crm-outbox", 5, "%", "a CRM's commits slower beside the relay"),
    _at_most(
        *("connect", "connect", 0, "", "rows of a million that Kafka Connect writes differently")
    ),
    _at_most("erasure", "erasure", 60, "s", "10,000 of a million keys erased, history too"),
    _at_most("retention", "retention", 5, "s", "10,000 legal holds over 5 million rows of history"),
    _at_most("daily-file", "daily-file", 30, "s", "a million lines fetched, checked, compared"),
    _at_most("daily-file-memory", "daily-file", 300, "MB", "of the process that does it"),
    _at_most(
        *("ledger-rebuild", "ledger-rebuild", 90, "s", "a million rows folded from the history")
    ),
    _at_most("reconcile", "reconcile", 60, "s", "a million equal keys compared, streamed"),
    _at_most("reconcile-memory", "reconcile", 300, "MB", "of the command that compares them"),
    _at_most("verify-hostile-seconds", "verify-hostile", 5, "s", "the slowest hostile archive"),
    _at_most("verify-hostile-megabytes", "verify-hostile", 300, "MB", "memory of its verifier"),
    _at_most("evidence", "evidence", 5, "s", "the archive of a recipient with 200 entries"),
    _at_most("ledger-lost", "ledger-lost", 120, "s", "until a million lost rows stand again"),
    _at_least("request-budget", "sink", 95, "%", "of İYS's requests used by one process"),
    _at_most("request-budget-h124", "sink", 0, "", "requests over İYS's limit"),
    _at_least(
        "sweep-slots", "sweep", 99, "%", "of its requests that a sweep of a million keys makes"
    ),
    _at_least("rate-limit-used", "rate-limit", 95, "%", "of İYS's requests, with jitter"),
    _at_least("rate-limit-settled", "rate-limit", 95, "%", "of what İYS lets settle, with jitter"),
    _at_most("rate-limit-h124", "rate-limit", 1, "", "over the limit in 100,000, with jitter"),
    _at_least("rate-limit-steady-used", "rate-limit-steady", 95, "%", "the same without jitter"),
    _at_least("rate-limit-steady-settled", "rate-limit-steady", 95, "%", "without jitter"),
    _at_most("rate-limit-steady-h124", "rate-limit-steady", 0, "", "without jitter"),
    _at_least("rate-limit-degraded-used", "rate-limit-degraded", 90, "%", "İYS failing at times"),
    _at_least("rate-limit-degraded-settled", "rate-limit-degraded", 90, "%", "the same"),
    _at_most("rate-limit-degraded-h124", "rate-limit-degraded", 1, "", "the same, in 100,000"),
    _at_most("opt-out-seconds", "opt-out-backlog", 3, "s", "until İYS has an opt-out, slowest"),
    _at_most("opt-outs-missing", "opt-out-backlog", 0, "", "opt-outs that İYS does not end with"),
    _at_most("simulator-errors", "simulator", 0, "", "unexpected results at 10 batches a second"),
    _at_most("simulator-cpu", "simulator", 60, "%", "of a core at 10 batches a second"),
    _at_least("simulator-rate", "simulator", 10_000, "consents/s", "as fast as it answers"),
    _at_most("webhook-latency", "webhooks", 300, "ms", "opt-out published until received, p99"),
    _at_most("push-to-webhook", "webhooks", 400, "ms", "İYS's push until received, p99"),
    _at_least(
        *("webhook-throughput", "webhook-throughput", 50, "%", "of what bare httpx posts a core"),
    ),
    _at_most("webhook-memory", "webhook-memory", 250, "MiB", "of the process, its peak (RSS)"),
    _at_least(
        "permission-list-load", "permission-list", 25_000, "keys/s", "until the list is complete"
    ),
    _at_most("permission-list-memory", "permission-list", 30, "bytes", "of the list for a key"),
    _at_most("permission-list-answer", "permission-list", 10, "µs", "may we send to a key?"),
    _at_most(
        "permission-list-opt-out", "permission-list", 100, "ms", "published until closed, p99"
    ),
    _at_least("intake-posts", "intake", 2000, "posts/s", "single posts, for a core of its CPU"),
    _at_least("intake-rate", "intake", 40, "%", "of the posts that a bare endpoint answers"),
    _at_most("intake-latency", "intake", 50, "ms", "an answer at 1,000 posts a second, p99"),
    _at_least("intake-mapped", "intake", 50, "%", "of its posts, as webhooks that are mapped"),
    _at_most("sms-ret-gate", "sms-ret", 250, "ms", "a reply RET until the gate says no, p99"),
    _at_most("sms-ret-iys", "sms-ret", 3, "s", "the same until İYS has accepted it, slowest"),
    _at_least("gate-rate", "gate", 50, "%", "of the questions that a bare endpoint answers"),
    _at_most("gate-latency", "gate", 5, "ms", "an answer at 1,000 questions a second, p99"),
    _at_least(
        "gate-drain", "gate-backlog", 25, "%", "of a bare endpoint's, as a backlog is drained"
    ),
    _at_most("gate-opt-out-drain", "gate-backlog", 1, "s", "published until it is a no, meanwhile"),
    _at_most("gate-opt-out-idle", "gate-backlog", 250, "ms", "the same without a backlog, slowest"),
    _at_most("gate-opt-out-alone", "gate-backlog", 250, "ms", "the same without an order worker"),
    _at_most("gate-start", "gate-state", 60, "s", "from nothing until 5 M keys are known"),
    _at_most("gate-key-facts", "gate-state", 5, "µs", "what is known of a key"),
    _at_most(
        "gate-scrub-seconds", "gate-scrub", 30, "s", "a million recipients scrubbed by a warm gate"
    ),
    _at_most("gate-scrub-memory", "gate-scrub", 300, "MB", "of the command that scrubs them"),
    _at_most("import-csv", "import-csv", 60, "s", "a million rows of CSV to Kafka"),
    _at_most("import-csv-memory", "import-csv", 300, "MB", "of the command that imports them"),
    _at_most("import-xlsx", "import-xlsx", 120, "s", "a million rows of a workbook to Kafka"),
    _at_most("import-xlsx-memory", "import-xlsx", 1000, "MB", "of it and of what reads for it"),
    _at_most("push-idle", "push-latency", 250, "ms", "İYS's push until its opt-out is read, p99"),
    _at_most("push-load", "push-latency", 500, "ms", "the same at 500 opt-outs a second, p99"),
    _at_most("console-p95", "console", 150, "ms", "the slowest screen, 5 M keys and 10 M entries"),
    _at_most("console-scans", "console", 0, "", "tables that a screen reads from end to end"),
    _at_most("console-watchers", "console", 5, "%", "of a core for 50 who watch the overview"),
    _at_most("browser-faults", "browser", 0, "", "of screens in a browser, in every look"),
    _at_most("order-violations", "chaos-order", 0, "", "broken promises under faults"),
    _at_most(
        "order-opt-out-delay", "chaos-order", 30, "s", "longest wait of an opt-out under faults"
    ),
    _at_most("rolling-stall", "chaos-order", 5, "s", "longest wait of an event, rolling restarts"),
    _at_most("rolling-end", "chaos-order", 5, "s", "slowest end after SIGTERM"),
    _at_most("sink-unexplained", "chaos-sink", 0, "", "differences that no rule explains"),
    _at_most(
        "sink-opt-out-delay", "chaos-sink", 30, "s", "until İYS has an opt-out, outages apart"
    ),
    _at_most("days-unexplained", "chaos-days", 0, "", "differences that no rule explains"),
    _at_most("webhooks-unexplained", "chaos-webhooks", 0, "", "lost, doubled or out of order"),
    _at_least("outbox-commits", "chaos-outbox", 10_000, "", "changes committed beside an outbox"),
    _at_most("outbox-missing", "chaos-outbox", 0, "", "of them that the topics have not"),
    _at_most("outbox-undone", "chaos-outbox", 0, "", "events of what was rolled back"),
    _at_most("outbox-ids", "chaos-outbox", 0, "", "rows relayed under more than one id"),
    _at_most("gate-wrong-yes", "chaos-gate", 0, "", "yes after an opt-out, or without İYS"),
    _at_least("gate-yes-at-end", "chaos-gate", 100, "%", "of whom İYS has, by both gates"),
    _at_least("reconcile-found", "chaos-reconcile", 1000, "", "planted differences that are named"),
    _at_most("reconcile-unexplained", "chaos-reconcile", 0, "", "differences left after repairs"),
    _at_least("access-lists", "chaos-access", 1000, "", "access lists that are as wanted"),
    _at_most("access-calls", "chaos-access", 105, "%", "of the fewest calls that change them"),
    _at_most("access-wrong", "chaos-access", 0, "", "lists that are not, or differ here"),
    _at_most("alerts-first", "chaos-alerts", 90, "s", "until the first alert of a fault, slowest"),
    _at_most("alerts-false", "chaos-alerts", 0, "", "alerts while all was well"),
    _at_most("inbound-missing", "chaos-inbound", 0, "", "citizens' movements not in the history"),
    _at_most("inbound-double", "chaos-inbound", 0, "", "of them in the history twice"),
    _at_most("inbound-registered", "chaos-inbound", 0, "", "keys not as İYS's register has them"),
    _at_least("late-ends", "chaos-late", 10_000, "", "ends of transactions that came late"),
    _at_most("late-wrong", "chaos-late", 0, "", "transactions unlike what was believed"),
    _at_least("hostile-records", "chaos-hostile", 100_000, "", "hostile records on the lanes"),
    _at_most(
        *("hostile-delay", "chaos-hostile", 100, "%", "slowest hundredth of opt-outs, of its limit")
    ),
    _at_most("hostile-lost", "chaos-hostile", 0, "", "opt-outs beside hostile records that vanish"),
    _at_most("hostile-wrong", "chaos-hostile", 0, "", "of them neither refused nor opt-outs"),
    _at_most("files", "chaos-files", 0, "", "of 20,000 malformed files that break a promise"),
    _at_least(
        "property-histories", "chaos-property", 1_000_000, "", "generated histories of a key"
    ),
    _at_most("property-unexplained", "chaos-property", 0, "", "of them that hide an opt-out"),
    _at_least(
        "property-compared", "chaos-property", 10_000, "", "of them read by evidence and what-if"
    ),
    _at_most(
        "property-disagreements",
        "chaos-property",
        0,
        "",
        "of these where one differs from the ledger",
    ),
    _at_least("words", "chaos-words", 5000, "", "generated names and words that were read"),
    _at_most("words-invented", "chaos-words", 0, "", "consents that no list has"),
    _at_most("words-lost", "chaos-words", 0, "", "opt-outs, or pairs of docs and tests, lost"),
    _at_least("forgery-found", "chaos-forgery", 2000, "", "forgeries found, behind an anchor"),
    _at_most("forgery-missed", "chaos-forgery", 0, "", "forgeries that a verifier did not find"),
    _at_least("forgery-archives", "chaos-forgery", 10_000, "", "genuine archives verified"),
    _at_least("forgery-ledgers", "chaos-forgery", 100, "", "genuine ledgers verified"),
    _at_most("forgery-faults", "chaos-forgery", 0, "", "faults of genuine archives and ledgers"),
    _at_least("requests", "chaos-requests", 20_000, "", "hostile requests to each API"),
    _at_most("requests-5xx", "chaos-requests", 0, "", "answers to them that are 5xx"),
    _at_most(
        *("requests-neighbour-p99-ms", "chaos-requests", 50, "ms", "a neighbour's answer meanwhile")
    ),
    _at_least("console-requests", "chaos-console", 20_000, "", "hostile requests to the console"),
    _at_most("console-5xx", "chaos-console", 0, "", "answers to them that are 5xx"),
    _at_most("console-foreign", "chaos-console", 0, "", "that show or change another customer"),
    _at_most("console-memory-mib", "chaos-console", 512, "MiB", "memory of the console, at most"),
    _at_least("intake-accepted", "chaos-intake", 100, "%", "of posts accepted in the end"),
    _at_most("intake-lost", "chaos-intake", 0, "", "answered with 202, and in no topic"),
    _at_most("intake-decided-twice", "chaos-intake", 0, "", "of them not decided exactly once"),
    _at_least("bodies", "chaos-bodies", 50_000, "", "malformed bodies, forms and webhooks"),
    _at_most("bodies-5xx", "chaos-bodies", 0, "", "of them answered with 5xx, or not at all"),
    _at_most("bodies-partial", "chaos-bodies", 0, "", "events unlike the answers, or not whole"),
    _at_most("bodies-leaks", "chaos-bodies", 0, "", "lines of the log with what no log may have"),
    _at_least("upgrade-accepted", "chaos-upgrade", 100, "%", "of 200 posts a second, both ways"),
    _at_most("upgrade-lost", "chaos-upgrade", 0, "", "of them that are not everywhere"),
    _at_most("upgrade-decided-twice", "chaos-upgrade", 0, "", "opt-ins decided twice"),
    _at_most("upgrade-chain", "chaos-upgrade", 0, "", "faults of the history"),
    _at_most("drill-lost", "chaos-drill", 0, "", "recipients unlike their last acknowledged act"),
    _at_most("drill-doubled", "chaos-drill", 0, "", "events decided or saved twice"),
    _at_most("drill-repeated", "chaos-drill", 0, "", "opt-ins submitted again without asking"),
    _at_most("drill-recovery", "chaos-drill", 120, "s", "until everything was done that had come"),
    _at_most("bodies-mib", "chaos-bodies", 250, "MiB", "the most memory of the intake (RSS)"),
    _at_least("law-mutants", "mutants", 90, "%", "of the law's mutants killed by its tests"),
    _at_most("help", "help", 0.5, "s", "`izin --help`, the list of all commands"),
    _at_most("idle", "idle", 5, "%", "of a core, all processes of izin at rest"),
    _at_most("idle-sink", "idle", 2, "%", "of a core, the sink worker at rest"),
    _at_most("idle-gate", "idle", 1, "%", "the same of the gate"),
    _at_most("idle-feeds", "idle", 0.6, "%", "the same of the feeds"),
    _at_most("idle-webhooks", "idle", 0.5, "%", "the same of the webhooks"),
    _at_most("idle-order", "idle", 0.5, "%", "the same of the order worker"),
    _at_most("idle-intake", "idle", 0.4, "%", "the same of the intake"),
    _at_most("idle-api", "idle", 0.3, "%", "the same of the API"),
    _at_most("idle-console", "idle", 0.3, "%", "the same of the console"),
    _at_most("outage-shut", "chaos-outage", 15, "min", "until gates shut after ten days down"),
    _at_most("outage-confirmed", "chaos-outage", 3, "h", "until all of 2,000 is confirmed"),
    _at_most("outage-found", "chaos-outage", 60, "s", "until a delisted address is found"),
    _at_most("outage-wrong-yes", "chaos-outage", 0, "", "yes to who had rejected, on the return"),
    _at_most(
        "outage-unexplained", "chaos-outage", 0, "", "gates shut without reason, limits passed"
    ),
    _at_most("onboarding-forecast", "chaos-onboarding", 10, "%", "off the time that it took"),
    _at_most(
        "onboarding-unexplained", "chaos-onboarding", 0, "", "counts and columns unlike İYS's"
    ),
    _at_most("days-token-calls", "chaos-days", 10, "", "token calls within any one hour"),
)

BARS: dict[str, FigureBar] = {bar.name: bar for bar in _ALL}


def bars_of(run: str) -> list[FigureBar]:
    """Return the bars of the figures that ``run`` measures."""
    return [bar for bar in BARS.values() if bar.run == run]
