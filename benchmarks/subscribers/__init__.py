"""What the subscriber library costs."""

__all__: tuple[str, ...] = ()
