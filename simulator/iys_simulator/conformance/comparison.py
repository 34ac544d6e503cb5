"""Comparison of a response with the expected one. Pure."""

from collections.abc import Mapping

from iys_simulator.conformance.case import Expected, value_at


def mismatch(expected: Expected, status: int, content: object) -> str:
    """Return how a response differs from the expected one; empty where it does not."""
    codes = codes_in(content)
    if status != expected.status:
        suffix = f" {', '.join(codes)}" if codes else ""
        return f"HTTP {expected.status} expected, {status}{suffix} received"
    if expected.code is not None:
        errors = [entry for entry in _errors(content) if _code(entry) == expected.code]
        if not errors:
            return f"{expected.code} expected, {', '.join(codes) or 'no code'} received"
        if not all(entry.get("message") for entry in errors):
            return f"{expected.code} has no message"
        if not any(_is_at_place(entry, expected) for entry in errors):
            where = expected.location if expected.location is not None else expected.index
            return f"{expected.code} is not at {where}: {errors}"
    for path, value in expected.has.items():
        actual = value_at(content, path)
        if actual is None or (value is not ... and actual != value):
            wanted = "a value" if value is ... else repr(value)
            return f"{path}: {wanted} expected, {actual!r} received"
    return ""


def codes_in(content: object) -> list[str]:
    """Return the H-codes of a refusal, in any of İYS's shapes and spellings."""
    return [code for entry in _errors(content) if (code := _code(entry))]


def _errors(content: object) -> list[Mapping[str, object]]:
    if not isinstance(content, dict):
        return []
    # A client in use reads H084 without the envelope.
    errors = content.get("errors", [content])
    return [entry for entry in errors if isinstance(entry, dict)] if errors else []


def _code(entry: Mapping[str, object]) -> str:
    return str(entry.get("code") or entry.get("code:") or "")


def _is_at_place(entry: Mapping[str, object], expected: Expected) -> bool:
    if expected.location is not None and entry.get("location") != list(expected.location):
        return False
    return expected.index is None or entry.get("index") == expected.index
