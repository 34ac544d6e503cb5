"""The whole local stack for the length of a benchmark, under free ports and in a new folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from benchmarks.results import progress
from izin.stack.stack import LocalStack
from izin.stack.stack_settings import example_brands


@contextmanager
def running_local_stack(
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[LocalStack]:
    """Run it, with four partitions and the example brands; its processes have ``settings`` too."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("starting the local stack") as status,
        LocalStack(
            Path(folder) / "stack",
            brands=example_brands(),
            partitions=4,
            settings=settings,
            on_progress=status.update,
        ) as stack,
    ):
        status.update("measuring")
        yield stack
