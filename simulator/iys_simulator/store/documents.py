"""Persistent mappings: held in memory and written through to the simulator's database.

Keys and values are frozen values of the simulator; their types define how they are serialized.
"""

from collections.abc import Iterator, MutableMapping
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from iys_simulator.store.database import Database

K = TypeVar("K")
V = TypeVar("V")


class DocumentMap(MutableMapping[K, V], Generic[K, V]):
    """A mapping of one kind of documents, in the order of insertion."""

    def __init__(
        self, database: Database, kind: str, key_type: type[K], value_type: type[V]
    ) -> None:
        """Load the documents of `kind`.

        Raises:
            ValueError: a stored document does not have these types.
        """
        self._database = database
        self._kind = kind
        self._keys: TypeAdapter[K] = TypeAdapter(key_type)
        self._values: TypeAdapter[V] = TypeAdapter(value_type)
        self._loaded: dict[K, V] = {
            self._keys.validate_json(name): self._values.validate_json(value)
            for name, value in database.rows("documents", kind)
        }

    def __getitem__(self, key: K) -> V:
        return self._loaded[key]

    def __setitem__(self, key: K, value: V) -> None:
        serialized = self._values.dump_json(value).decode()
        self._database.run("put_document", self._kind, self._name(key), serialized)
        self._loaded[key] = value

    def __delitem__(self, key: K) -> None:
        del self._loaded[key]
        self._database.run("delete_document", self._kind, self._name(key))

    def __iter__(self) -> Iterator[K]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    def clear(self) -> None:
        """Delete all documents of this kind."""
        self._loaded.clear()
        self._database.run("clear_documents", self._kind)

    def _name(self, key: K) -> str:
        return self._keys.dump_json(key).decode()
