"""Compiles the hot paths of the order stage, the ledger and the intake where a wheel is built with
``IZIN_COMPILE=1``.

The modules stay Python: mypyc compiles what mypy has checked, and in any other wheel they run
interpreted, at half the speed. An editable install is not compiled, for a change would be masked by
what was compiled before it.
"""

import sys

from setuptools import setup

from build_backend import is_compiled

HOT = (
    "izin/schemas/fast/reader.py",
    "izin/schemas/fast/writer.py",
    "izin/schemas/fast/record_format.py",
    "izin/schemas/generated/decision_offsets.py",
    "izin/schemas/fast/decision_writer.py",
    "izin/schemas/fast/cache.py",
    "izin/schemas/partitioning.py",
    "izin/schemas/records.py",
    "izin/schemas/consistency_token.py",
    "izin/schemas/uuids.py",
    "izin/schemas/generated/consent_event_offsets.py",
    "izin/kafka/tables/packed_permissions.py",
    "izin/kafka/tables/permission_reader.py",
    "izin/gate/key_tables.py",
    "izin/producers/intake/request_body.py",
    "izin/producers/mapping/cells.py",
    "izin/producers/publishing/event_ids.py",
    "izin/sinks/ingest/decision_reader.py",
    "izin/ledger/history/hash_chain.py",
    "izin/ledger/outbox.py",
    "izin/ledger/bulk/alike.py",
    "izin/ledger/db/copy_format.py",
    "izin/ledger/history/calls.py",
    "izin/ledger/record/apply.py",
    "izin/ledger/record/ruling.py",
    "izin/streams/fetched_record.py",
    "izin/streams/ownership/effects.py",
    "izin/streams/order.py",
    "izin/streams/outputs.py",
    "izin/streams/state/packing.py",
    "izin/streams/state/state.py",
    "izin/streams/fast_path/simple_events.py",
    "izin/streams/fast_path/rows.py",
)

extensions = []
if "bdist_wheel" in sys.argv and is_compiled():
    from mypyc.build import mypycify

    # `make check` checks the types, with all packages installed; here they are only used.
    options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    extensions = mypycify([*options, *HOT], group_name="izin")

try:
    setup(ext_modules=extensions)
except SystemExit as error:
    if not extensions:
        raise
    raise SystemExit(
        f"{error}\nIZIN_COMPILE=1 needs a C compiler and the headers of Python (gcc, python3-dev); "
        "without it the wheel is pure Python, and the hot path runs interpreted"
    ) from error
