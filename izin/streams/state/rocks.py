"""The state on disk, in RocksDB: a worker that restarts reads back only what it missed.

A folder has one partition of one worker. Rows, their position in ``desired-consents``, their number
and the shared fields they are packed with are in one write, so whatever kills a worker leaves a
consistent prefix of what was written. Nothing is flushed to the disk's platter: the topic is the
source, and rows lost in a power cut are read from it again.

A folder records of which cluster and topic its rows are, the law version that decided them, and how
they are packed. Rows of another topic or of an older packing are read again; those of a newer
release are not touched. What cannot be opened is read again too, for it has only rows of the topic;
a folder that is not ours is left alone.

A full disk holds nobody's opt-outs back: rows that cannot be written stand in memory, so many of
them, until there is room. RocksDB writes nothing more after such a failure, so it is opened anew.

The lock of a state's folder: one worker at a time, and only a folder that is ours.

RocksDB locks its own folder too, but reports a lock that somebody else has only in prose, and would
take any folder for its own. The kernel releases the lock when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
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

from izin.consent import LAW_VERSION
from izin.runtime.logs import get_logger
from izin.schemas.erasure import SUPPRESSED
from izin.streams.errors import StateError
from izin.streams.state.packing import LAYOUT, Packing

_BROKEN = "broken"
_ROWS = "rows"
_PROBE = "probe"
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
_MOST_UNWRITTEN = 32 << 20
"""Bytes of the rows of a partition that stand in memory alone."""
_ROOM = 1 << 20
"""Bytes that RocksDB needs to be opened, and more."""
_RETRY_AFTER = 1.0
"""Seconds between two attempts to write where one failed."""
_BLOOM_BITS = 10
_HASHED_SHARE = 0.75
_SIZES = ("rocksdb.estimate-live-data-size", "rocksdb.cur-size-all-mem-tables")

_log = get_logger(__name__)
LOCK_FILE = "izin-state.lock"
"""Marks a folder as ours; locked while a worker uses it."""


class StateFolderLock:
    """This process's lock of ``folder``, taken and released any number of times."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None

    def take(self) -> None:
        """Make the folder if need be, and lock it; raises StateError if that cannot be done."""
        file = self._folder / LOCK_FILE
        try:
            # Its keys are recipients: RocksDB's files would be readable by anybody.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            if not file.exists() and any(self._folder.iterdir()):
                raise StateError(
                    f"{self._folder} is no state of ours; empty it, or set IZIN_STATE_FOLDER"
                )
            lock = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise StateError(
                f"{self._folder} cannot be used ({error.strerror}); "
                "may this user write there? else set IZIN_STATE_FOLDER"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StateError(
                f"{self._folder} is in use by another worker; "
                "give each worker an IZIN_INSTANCE_ID of its own"
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Let another worker take it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


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
        self._about: bytes | None = None
        """What the folder records of itself."""
        self._fails: Exception | None = None
        """Why rows could not be written when that was last tried; None: they were."""
        self._retry_at = 0.0
        self._unwritten: dict[bytes, bytes | None] = {}
        self._unwritten_bytes = 0
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
        if key in self._unwritten:
            return self._unwritten[key] or None
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

        Raises StateError if they cannot be written, and are too many to stand in memory.
        """
        known = self._known(rows)
        keys = self._keys - len(known) + sum(map(bool, rows.values()))
        suppresses = self.suppresses or any(
            packed and key.startswith(SUPPRESSED) for key, packed in rows.items()
        )
        about = {
            "topic": self._identity,
            "law": LAW_VERSION,
            "layout": LAYOUT,
            "position": position,
            "caught_up_at": self.caught_up_at,
            "keys": keys,
            "suppresses": suppresses,
        }
        if self._fails is None or self._open_anew():
            self._write({**self._unwritten, **rows} if self._unwritten else rows, about)
        if self._fails is not None:
            self._keep_in_memory(rows, self._fails)
        self._keys, self.position, self.suppresses = keys, position, suppresses
        self._looked_up.clear()

    def _write(self, rows: Mapping[bytes, bytes | None], about: Mapping[str, object]) -> None:
        """Write ``rows`` and what the folder records of itself; it may fail."""
        database, batch = self._opened(), WriteBatch(raw_mode=True)
        for key, packed in rows.items():
            if packed:
                batch.put(key, packed)
            else:
                batch.delete(key)
        shared = self.packing.shared(self._shared_saved)
        for index, fields in enumerate(shared, self._shared_saved):
            batch.put(_SHARED % index, fields)
        recorded = {**about, "shared": self._shared_saved + len(shared)}
        packed_about = json.dumps(recorded).encode()
        batch.put(_ABOUT, packed_about)
        try:
            database.write(batch)
        except Exception as error:  # noqa: BLE001  # RocksDB raises nothing narrower
            self._failed(error)
            return
        if self._fails is not None:
            _log.warning("state written again", folder=str(self._folder))
        self._unwritten, self._unwritten_bytes, self._fails = {}, 0, None
        self._about = packed_about
        self._shared_saved += len(shared)

    def _failed(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + _RETRY_AFTER
        if self._fails is None:
            effect = "its rows stand in memory until there is room; once too many do, it waits"
            _log.critical(
                "state not written", folder=str(self._folder), error=str(error), effect=effect
            )
        self._fails = error

    def _keep_in_memory(self, rows: Mapping[bytes, bytes | None], error: Exception) -> None:
        """Keep ``rows`` until they can be written; raises StateError where they are too many."""
        size = sum(len(key) + len(packed or b"") for key, packed in rows.items())
        if self._unwritten_bytes + size > _MOST_UNWRITTEN:
            raise StateError(
                f"{self._folder} cannot be written ({error}); is the disk full?"
            ) from error
        self._unwritten_bytes += size
        self._unwritten.update(rows)

    def _open_anew(self) -> bool:
        """Open the rows anew and return True, if it is time and there is room; raises StateError
        where what was written is gone.
        """
        if time.monotonic() < self._retry_at or not self._has_room():
            return False
        try:
            self._close_rows()
            self._rows = self._open_or_discard()
            about = self._get_all(self._rows, [_ABOUT])
        except BaseException:
            self.close()
            raise
        if about != [self._about]:
            self.close()
            raise StateError(f"{self._folder} lost rows; they are read back from the topic")
        return True

    def _has_room(self) -> bool:
        """Return whether RocksDB could be opened, and what stands in memory written."""
        probe = self._folder / _PROBE
        try:
            probe.write_bytes(bytes(self._unwritten_bytes + _ROOM))
        except OSError:
            return False
        finally:
            probe.unlink(missing_ok=True)
        return True

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
        except Exception as error:  # RocksDB raises nothing narrower
            if not self._has_room():
                raise StateError(
                    f"{self._folder} cannot be opened ({error}); is the disk full?"
                ) from error
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
        self._about = written
        self._shared_saved = about["shared"]
        self.packing = Packing(
            self._get_all(rows, [_SHARED % index for index in range(self._shared_saved)])
        )
        self._identity, self._keys, self.position = about["topic"], about["keys"], about["position"]
        self.suppresses = about.get("suppresses", False)
        self.caught_up_at = about.get("caught_up_at", 0)

    def _known(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of ``keys`` that are in the state."""
        rows, known, others = self._opened(), set[bytes](), list[bytes]()
        for key in keys:
            is_known = self._looked_up.get(key)
            if key in self._unwritten:
                is_known = bool(self._unwritten[key])
            if is_known is None:
                others.append(key)
            elif is_known:
                known.add(key)
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
