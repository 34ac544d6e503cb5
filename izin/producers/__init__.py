"""Producers: records of our own systems become consent events in Kafka.

publishing       lane, key, bytes, headers, acknowledgement; deterministic event ids
brand_directory  the customer of a brand, from the topic ``brands``
mapping          the fields of a source read and validated
files            a CRM export, imported and reported
intake           the HTTP endpoint for signups: ``python -m izin.producers``
"""

from izin.producers.brand_directory import (
    BrandDirectory,
    BrandReader,
    RegisteredBrand,
    UnknownBrandError,
)
from izin.producers.files.import_report import ImportReport
from izin.producers.files.importer import Import, ImportInterruptedError, import_file
from izin.producers.publishing.event_publisher import Published
from izin.producers.publishing.kafka_publisher import BULK_LINGER, KafkaPublisher

__all__ = [
    "BULK_LINGER",
    "BrandDirectory",
    "BrandReader",
    "Import",
    "ImportInterruptedError",
    "ImportReport",
    "KafkaPublisher",
    "Published",
    "RegisteredBrand",
    "UnknownBrandError",
    "import_file",
]
