"""What imports of files need: the brands, a publisher, the opt-outs that stand, and progress."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from izin.consent.errors import SourceError
from izin.console.publish import utc_now
from izin.console.terminal.output import kafka_settings
from izin.console.terminal.progress import StepProgress
from izin.producers.files.columns import ColumnsError
from izin.producers.files.import_report import ImportReport
from izin.producers.files.importer import FindOptOuts, Import, Progress, import_file
from izin.producers.publishing.publisher import BULK_LINGER, KafkaPublisher
from izin.projections.brand_directory import BrandDirectory, BrandReader
from izin.projections.standing_opt_outs import StandingOptOuts
from izin.runtime.gc_tuning import tune_gc_for_batches
from izin.runtime.kafka import access_of
from izin.runtime.kafka_environment import KafkaAccess
from izin.schemas.codec import Codec

Begin = Callable[[str], StepProgress]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSession:
    """A connection to Kafka that imports files."""

    kafka: KafkaAccess
    codec: Codec
    directory: BrandDirectory
    publisher: KafkaPublisher

    def opt_outs(self, brands: Collection[int], begin: Begin) -> StandingOptOuts:
        """Return the opt-outs that stand for keys of ``brands``, and show their reading as a step.

        Raises:
            BrokerError: the topic cannot be read.
        """
        found = StandingOptOuts(self.kafka, self.codec, brands)
        found.load(begin("opt-outs read"))
        return found

    def run(
        self, path: Path, how: Import, begin: Begin, *, opt_outs: FindOptOuts | None
    ) -> ImportReport:
        """Import the file at ``path``, and show the rows of each pass as a step.

        Without ``opt_outs`` it is read once, and no opt-in counts as a reversal.

        Raises:
            SourceError: the file as a whole cannot be used.
            ImportInterruptedError: Kafka became unreachable.
        """
        steps: dict[str, StepProgress] = {}

        def show(done: Progress) -> None:
            what = "checked" if how.dry_run else done.step
            # How many rows there are is not known before the end: as many as the size lets expect.
            expected = done.rows * done.size // max(done.position, 1)
            if what not in steps:
                steps[what] = begin(f"{path.name}, rows {what}")
            steps[what](done.rows, max(done.rows, expected))

        try:
            return import_file(
                path,
                self.publisher,
                self.directory,
                clock=utc_now,
                how=how,
                progress=show,
                opt_outs=opt_outs,
            )
        except ColumnsError as error:
            raise SourceError(f"{path.name}, {error}") from error


@contextmanager
def import_session() -> Iterator[ImportSession]:
    """Provide a session with the brands that are known."""
    kafka = access_of(kafka_settings())
    codec = kafka.codec()
    directory = BrandReader(kafka, codec).load()
    tune_gc_for_batches()
    with KafkaPublisher(kafka, codec, clock=utc_now, linger=BULK_LINGER) as publisher:
        yield ImportSession(kafka=kafka, codec=codec, directory=directory, publisher=publisher)
