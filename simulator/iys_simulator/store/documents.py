"""Small things that last: a mapping held in memory and written through to the twin's database.

Keys and values are the twin's own frozen values; how they are written follows from their types.
"""

from collections.abc import Iterator, MutableMapping
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from iys_simulator.store.database import Database

K = TypeVar("K")
V = TypeVar("V")


class Shelf(MutableMapping[K, V], Generic[K, V]):
    """A mapping of one kind of things; what was put in first comes first."""

    def __init__(
        self, database: Database, kind: str, key_type: type[K], value_type: type[V]
    ) -> None:
        """Read what is there of `kind`; a `ValueError` if it is no longer of these types."""
        self._database = database
        self._kind = kind
        self._keys: TypeAdapter[K] = TypeAdapter(key_type)
        self._values: TypeAdapter[V] = TypeAdapter(value_type)
        self._held: dict[K, V] = {
            self._keys.validate_json(name): self._values.validate_json(value)
            for name, value in database.rows("documents", kind)
        }

    def __getitem__(self, key: K) -> V:
        return self._held[key]

    def __setitem__(self, key: K, value: V) -> None:
        written = self._values.dump_json(value).decode()
        self._database.run("put_document", self._kind, self._name(key), written)
        self._held[key] = value

    def __delitem__(self, key: K) -> None:
        del self._held[key]
        self._database.run("delete_document", self._kind, self._name(key))

    def __iter__(self) -> Iterator[K]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def clear(self) -> None:
        """Take everything out."""
        self._held.clear()
        self._database.run("clear_documents", self._kind)

    def _name(self, key: K) -> str:
        return self._keys.dump_json(key).decode()
