"""The state on disk, in RocksDB: a worker that comes back reads only what it missed.

A folder holds one partition of one worker. Rows, their position in ``desired-consents``, their number and
the words they are packed with stand in one write, so whatever kills a worker leaves a consistent
beginning of what was written. Nothing is forced to the platter: the topic is the truth, and what a
power cut takes is read from it again.

A folder says of which cluster and topic its rows are, by which law they were decided, and how they
are packed. Rows of another topic or of an older packing are read anew; those of a newer release are
not touched. What cannot be opened is read anew too, for nothing but rows of the topic is in it; a
folder that is not ours is left alone.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

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
from izin.streams.errors import StateError
from izin.streams.state.folder_lock import Claim
from izin.streams.state.packing import LAYOUT, Packing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from izin.consent.model import Consent

_BROKEN = "broken"
_ROWS = "rows"
_ABOUT = b"\x00about"
"""A canonical key begins with a digit, so what begins otherwise is no row."""
_WORDS = b"\x00words/%d"

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
    """The folder of one worker, a folder a partition in it; its caches are shared by all."""

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
        self._claim = Claim(folder)
        self._rows: Rdict | None = None
        self._forget()

    def _forget(self) -> None:
        self._home = ""
        self._keys = 0
        self.packing = Packing()
        self._words_kept = 0
        self._asked: dict[bytes, bool] = {}
        """Whether a key was held when it was last asked for, since the last write."""
        self.position = 0

    @property
    def size(self) -> int:
        """How many bytes it takes on disk and in buffers, about; 0 while it is closed."""
        rows = self._rows
        with suppress(DbClosedError):
            if rows is not None:
                return sum(rows.property_int_value(name) or 0 for name in _SIZES)
        return 0

    def open(self, home: str) -> None:
        """Be ready to hold rows of ``home``; what came from another is forgotten.

        Raises StateError where another worker has the folder, where it is not ours, or where a
        newer release wrote it.
        """
        if self._rows is None:
            self._claim.take()
            try:
                self._rows = self._opened()
                self._read_about(self._rows)
            except BaseException:
                self.close()
                raise
        if self._home != home:
            if self._home:
                self._reading_anew("came from another topic")
                self.clear()
            self._home = home

    def packed(self, key: bytes) -> bytes | None:
        """Return what holds true of ``key``, packed, or None; raises StateError if it cannot be
        read.
        """
        try:
            packed: bytes | None = self._held().get(key)
        except StateError:
            raise
        except Exception as error:  # RocksDB raises nothing narrower
            raise self._damaged(error) from error
        self._asked[key] = packed is not None
        return packed

    def get(self, key: bytes) -> Consent | None:
        """Return what holds true of ``key``, or None; raises StateError if it cannot be read."""
        packed = self.packed(key)
        return None if packed is None else self.packing.unpack(key, packed)

    def hold(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Hold ``rows`` (None: a tombstone), after which all rows below ``position`` are held.

        Raises StateError if they cannot be written.
        """
        held = self._held()
        batch, known, keys = WriteBatch(raw_mode=True), self._known(held, rows), self._keys
        for key, packed in rows.items():
            if packed is None:
                batch.delete(key)
                keys -= key in known
            else:
                batch.put(key, packed)
                keys += key not in known
        words = self.packing.words(self._words_kept)
        for place, telling in enumerate(words, self._words_kept):
            batch.put(_WORDS % place, telling)
        about = {
            "home": self._home,
            "law": LAW_VERSION,
            "layout": LAYOUT,
            "position": position,
            "keys": keys,
            "words": self._words_kept + len(words),
        }
        batch.put(_ABOUT, json.dumps(about).encode())
        try:
            held.write(batch)
        except Exception as error:  # RocksDB raises nothing narrower
            raise StateError(
                f"{self._folder} cannot be written ({error}); is the disk full?"
            ) from error
        self._keys, self.position = keys, position
        self._words_kept += len(words)
        self._asked.clear()

    def clear(self) -> None:
        """Forget everything, on disk too."""
        home, rows = self._home, self._held()
        self._rows = None
        rows.close()
        self._remove()
        self._forget()
        self._home = home
        self._rows = self._opened()

    def close(self) -> None:
        """Let go of the folder, so that another worker may have it."""
        rows, self._rows = self._rows, None
        if rows is not None:
            rows.close()
        self._forget()
        self._claim.drop()

    def __len__(self) -> int:
        """Return how many keys are held; none while it is closed."""
        return self._keys

    def _held(self) -> Rdict:
        if self._rows is None:
            raise StateError(f"{self._folder} is not open")
        return self._rows

    def _opened(self) -> Rdict:
        path = self._folder / _ROWS
        if (self._folder / _BROKEN).exists():
            self._reading_anew("could not be read")
            self._remove()
        try:
            return Rdict(str(path), self._options)
        except Exception as error:  # noqa: BLE001  # RocksDB raises nothing narrower
            self._reading_anew("cannot be opened", error)
        self._remove()
        try:
            return Rdict(str(path), self._options)
        except Exception as error:  # RocksDB raises nothing narrower
            raise StateError(
                f"{path} cannot be made ({error}); set IZIN_STATE_FOLDER elsewhere"
            ) from error

    def _read_about(self, rows: Rdict) -> None:
        """Take up what the folder says of itself; raises StateError if a newer release wrote it."""
        try:
            told = rows.get(_ABOUT)
            about = None if told is None else json.loads(told)
        except Exception as error:  # RocksDB raises nothing narrower
            raise self._damaged(error) from error
        if about is None:
            return
        if about["layout"] > LAYOUT or about["law"] > LAW_VERSION:
            raise StateError(
                f"{self._folder} was written by a newer release; start that, or delete the folder: "
                "it is read from the topic again"
            )
        if about["layout"] < LAYOUT:
            self._reading_anew("was packed by an older release")
            self.clear()
            return
        self._words_kept = about["words"]
        self.packing = Packing(
            self._many(rows, [_WORDS % place for place in range(self._words_kept)])
        )
        self._home, self._keys, self.position = about["home"], about["keys"], about["position"]

    def _known(self, rows: Rdict, keys: Collection[bytes]) -> set[bytes]:
        """Return those of ``keys`` that are held."""
        known = {key for key in keys if self._asked.get(key)}
        unasked = [key for key in keys if key not in self._asked]
        found = self._many(rows, unasked)
        known.update(key for key, row in zip(unasked, found, strict=True) if row is not None)
        return known

    def _many(self, rows: Rdict, keys: Sequence[bytes]) -> Sequence[Any]:
        """Return what stands under each of ``keys``, None where nothing does."""
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
            "start the worker again: it is then read from the topic"
        )

    def _remove(self) -> None:
        shutil.rmtree(self._folder / _ROWS, ignore_errors=True)
        (self._folder / _BROKEN).unlink(missing_ok=True)

    def _reading_anew(self, why: str, error: Exception | None = None) -> None:
        _log.warning(
            f"the state {why}; reading all of it",
            folder=str(self._folder),
            error=None if error is None else str(error),
        )
