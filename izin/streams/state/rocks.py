"""The state on disk, in RocksDB: a worker that restarts reads back only what it missed.

A folder has one partition of one worker. Rows, their position in ``desired-consents``, their number
and the shared fields they are packed with are in one write, so whatever kills a worker leaves a
consistent prefix of what was written. Nothing is flushed to the disk's platter: the topic is the
source, and rows lost in a power cut are read from it again.

A folder records of which cluster and topic its rows are, the law version that decided them, and how
they are packed. Rows of another topic or of an older packing are read again; those of a newer
release are not touched. What cannot be opened is read again too, for it has only rows of the topic;
a folder that is not ours is left alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DataBlockIndexType,
    DbClosedError,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

from izin.consent.model import LAW_VERSION
from izin.runtime.observe import get_logger
from izin.schemas.erasure import SUPPRESSED
from izin.streams.errors import StateError
from izin.streams.state.folder_lock import StateFolderLock
from izin.streams.state.packing import LAYOUT, Packing

_BROKEN = "broken"
_ROWS = "rows"
_ABOUT = b"\x00about"
"""A canonical key begins with a digit, so what begins otherwise is no row."""
_SHARED = b"\x00shared/%d"

_CACHE_BYTES = 64 << 20
_WRITE_BUFFERS_BYTES = 64 << 20
_WRITE_BUFFER_BYTES = 8 << 20
_WRITE_BUFFERS = 8
_NEVER = 1 << 20
_OPEN_FILES = 64
_LOG_BYTES = 1 << 20
_BLOOM_BITS = 10
_HASHED_SHARE = 0.75
_SIZES = ("rocksdb.estimate-live-data-size", "rocksdb.cur-size-all-mem-tables")

_log = get_logger(__name__)


class RocksFolder:
    """The folder of one worker, with a folder a partition; they share its caches."""

    def __init__(self, folder: Path) -> None:
        table = BlockBasedOptions()
        table.set_block_cache(Cache(_CACHE_BYTES))
        table.set_bloom_filter(_BLOOM_BITS, block_based=False)
        table.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
        table.set_data_block_hash_ratio(_HASHED_SHARE)
        self._options = options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(table)
        options.set_write_buffer_manager(WriteBufferManager(_WRITE_BUFFERS_BYTES, False))
        options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        # A write that RocksDB holds back until it has caught up would hold the interpreter too.
        options.set_max_write_buffer_number(_WRITE_BUFFERS)
        options.set_level_zero_slowdown_writes_trigger(_NEVER)
        options.set_level_zero_stop_writes_trigger(_NEVER)
        options.set_soft_pending_compaction_bytes_limit(0)
        options.set_hard_pending_compaction_bytes_limit(0)
        options.set_max_background_jobs(2)
        options.set_max_open_files(_OPEN_FILES)
        options.set_max_log_file_size(_LOG_BYTES)
        options.set_keep_log_file_num(2)
        self._folder = folder

    def state(self, number: int) -> RocksState:
        """Return the state of partition ``number``, not yet open."""
        return RocksState(self._folder / str(number), self._options)


class RocksState:
    """A state on disk, in a folder of its own."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self._options = options
        self._lock = StateFolderLock(folder)
        self._rows: Rdict | None = None
        self._reset()

    def _reset(self) -> None:
        self._identity = ""
        self._keys = 0
        self.packing = Packing()
        self._shared_saved = 0
        self._looked_up: dict[bytes, bool] = {}
        """Whether a key was there when it was last looked up, since the last write."""
        self.position = self.caught_up_at = 0
        self.suppresses = False

    @property
    def size(self) -> int:
        """How many bytes it takes on disk and in buffers, roughly; 0 while it is closed."""
        rows = self._rows
        with suppress(DbClosedError):
            if rows is not None:
                return sum(rows.property_int_value(name) or 0 for name in _SIZES)
        return 0

    def open(self, identity: str) -> None:
        """Open it for rows of the topic ``identity``; rows of any other are discarded.

        Raises StateError where another worker uses the folder, where it is not ours, or where a
        newer release wrote it.
        """
        if self._rows is None:
            self._lock.take()
            try:
                self._rows = self._open_or_discard()
                self._read_about(self._rows)
            except BaseException:
                self.close()
                raise
        if self._identity != identity:
            if self._identity:
                self._discarded("it is of another topic")
                self.clear()
            self._identity = identity

    def packed(self, key: bytes) -> bytes | None:
        """Return the packed consent of ``key``, or None; raises StateError if it is unreadable."""
        try:
            packed: bytes | None = self._opened().get(key)
        except StateError:
            raise
        except Exception as error:  # RocksDB raises nothing narrower
            raise self._damaged(error) from error
        self._looked_up[key] = packed is not None
        return packed

    def apply(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Apply ``rows`` (none, or empty: a tombstone), and all rows below ``position``.

        Raises StateError if they cannot be written.
        """
        database = self._opened()
        batch, known, keys = WriteBatch(raw_mode=True), self._known(database, rows), self._keys
        suppresses = self.suppresses
        for key, packed in rows.items():
            if not packed:
                batch.delete(key)
                keys -= key in known
            else:
                batch.put(key, packed)
                keys += key not in known
                suppresses |= key.startswith(SUPPRESSED)
        shared = self.packing.shared(self._shared_saved)
        for index, fields in enumerate(shared, self._shared_saved):
            batch.put(_SHARED % index, fields)
        about = {
            "topic": self._identity,
            "law": LAW_VERSION,
            "layout": LAYOUT,
            "position": position,
            "caught_up_at": self.caught_up_at,
            "keys": keys,
            "shared": self._shared_saved + len(shared),
            "suppresses": suppresses,
        }
        batch.put(_ABOUT, json.dumps(about).encode())
        try:
            database.write(batch)
        except Exception as error:  # RocksDB raises nothing narrower
            raise StateError(
                f"{self._folder} cannot be written ({error}); is the disk full?"
            ) from error
        self._keys, self.position, self.suppresses = keys, position, suppresses
        self._shared_saved += len(shared)
        self._looked_up.clear()

    def clear(self) -> None:
        """Discard everything, on disk too."""
        identity = self._identity
        self._opened()
        self._close_rows()
        self._remove()
        self._reset()
        self._identity = identity
        self._rows = self._open_or_discard()

    def close(self) -> None:
        """Release the folder, so that another worker may use it."""
        self._close_rows()
        self._reset()
        self._lock.release()

    def _close_rows(self) -> None:
        """Close them; what could not be written is read from the topic once they are open again."""
        rows, self._rows = self._rows, None
        if rows is not None:
            try:
                rows.close()
            except Exception as error:  # noqa: BLE001  # RocksDB raises nothing narrower, once it is closed
                _log.warning("state not flushed", folder=str(self._folder), error=str(error))

    def __len__(self) -> int:
        """Return the number of keys; 0 while it is closed."""
        return self._keys

    def _opened(self) -> Rdict:
        if self._rows is None:
            raise StateError(f"{self._folder} is not open")
        return self._rows

    def _open_or_discard(self) -> Rdict:
        path = self._folder / _ROWS
        if (self._folder / _BROKEN).exists():
            self._discarded("it could not be read")
            self._remove()
        try:
            return Rdict(str(path), self._options)
        except Exception as error:  # noqa: BLE001  # RocksDB raises nothing narrower
            self._discarded("it cannot be opened", error)
        self._remove()
        try:
            return Rdict(str(path), self._options)
        except Exception as error:  # RocksDB raises nothing narrower
            raise StateError(
                f"{path} cannot be made ({error}); set IZIN_STATE_FOLDER elsewhere"
            ) from error

    def _read_about(self, rows: Rdict) -> None:
        """Read what the folder records of itself; raises StateError if a newer release wrote it."""
        try:
            written = rows.get(_ABOUT)
            about = None if written is None else json.loads(written)
        except Exception as error:  # RocksDB raises nothing narrower
            raise self._damaged(error) from error
        if about is None:
            return
        if about["layout"] > LAYOUT or about["law"] > LAW_VERSION:
            raise StateError(
                f"{self._folder} was written by a newer release; start that, or delete the folder: "
                "it is read back from the topic"
            )
        if about["layout"] < LAYOUT:
            self._discarded("an older release packed it")
            self.clear()
            return
        self._shared_saved = about["shared"]
        self.packing = Packing(
            self._get_all(rows, [_SHARED % index for index in range(self._shared_saved)])
        )
        self._identity, self._keys, self.position = about["topic"], about["keys"], about["position"]
        self.suppresses = about.get("suppresses", False)
        self.caught_up_at = about.get("caught_up_at", 0)

    def _known(self, rows: Rdict, keys: Collection[bytes]) -> set[bytes]:
        """Return those of ``keys`` that are in the state."""
        known = {key for key in keys if self._looked_up.get(key)}
        others = [key for key in keys if key not in self._looked_up]
        found = self._get_all(rows, others)
        known.update(key for key, row in zip(others, found, strict=True) if row is not None)
        return known

    def _get_all(self, rows: Rdict, keys: Sequence[bytes]) -> Sequence[Any]:
        """Return the value of each of ``keys``, None where it has none."""
        if not keys:
            return []
        try:
            found = rows.get([*keys])
        except Exception as error:  # RocksDB raises nothing narrower
            raise self._damaged(error) from error
        return found if isinstance(found, list) else []

    def _damaged(self, error: Exception) -> StateError:
        (self._folder / _BROKEN).touch()
        return StateError(
            f"{self._folder} cannot be read ({error}); "
            "start the worker again: it is then read back from the topic"
        )

    def _remove(self) -> None:
        shutil.rmtree(self._folder / _ROWS, ignore_errors=True)
        (self._folder / _BROKEN).unlink(missing_ok=True)

    def _discarded(self, why: str, error: Exception | None = None) -> None:
        _log.warning(
            "state discarded",
            folder=str(self._folder),
            why=why,
            error=None if error is None else str(error),
        )
