"""In: what our own systems say of consent becomes events in Kafka.

framing, publish        the one door: lane, key, bytes, headers, acknowledgement
identity                the same statement, the same id
brands                  whose brand it is, from the topic ``brands``
words, dates, mappings  a source's fields read, never guessed, and judged by the law
columns, delimited,
report, files           a CRM export, imported and reported
bodies, problems,
intake, serving         the HTTP door for signups: ``python -m izin.producers``
"""

from __future__ import annotations

from izin.producers.brand_directory import (
    BrandDirectory,
    BrandReader,
    RegisteredBrand,
    UnknownBrandError,
)
from izin.producers.files.importer import Import, ImportInterruptedError, ImportReport, import_file
from izin.producers.publishing.publisher import BULK_LINGER, KafkaPublisher, Published

__all__ = [
    "BULK_LINGER",
    "Brand",
    "BrandDirectory",
    "BrandReader",
    "Import",
    "ImportInterruptedError",
    "ImportReport",
    "Published",
    "Publisher",
    "UnknownBrandError",
    "import_file",
]
