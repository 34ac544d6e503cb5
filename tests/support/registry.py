"""A schema registry in memory."""

from izin.schemas.contracts import Contract, Schema


class MemoryRegistry:
    """Gives each contract the next id, and counts requests for schemas."""

    def __init__(self) -> None:
        self.schemas: dict[int, Schema] = {}
        self.asked: list[int] = []

    def id_of(self, contract: Contract) -> int:
        self.schemas[len(self.schemas) + 1] = contract.schema
        return len(self.schemas)

    def close(self) -> None:
        """Nothing is open."""

    def schema_of(self, schema_id: int) -> Schema | None:
        self.asked.append(schema_id)
        return self.schemas.get(schema_id)
