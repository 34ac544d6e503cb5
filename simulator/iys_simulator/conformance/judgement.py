"""Whether an answer is the expected one. Pure."""

from collections.abc import Mapping

from iys_simulator.conformance.case import Expected, found


def objection(expected: Expected, status: int, content: object) -> str:
    """Tell what is wrong with the answer `status` with `content`; empty where nothing is."""
    codes = codes_in(content)
    if status != expected.status:
        told = f" {', '.join(codes)}" if codes else ""
        return f"HTTP {expected.status} expected, {status}{told} came"
    if expected.code is not None:
        errors = [entry for entry in _errors(content) if _code(entry) == expected.code]
        if not errors:
            return f"{expected.code} expected, {', '.join(codes) or 'no code'} came"
        if not all(entry.get("message") for entry in errors):
            return f"{expected.code} has no message"
        if not any(_is_there(entry, expected) for entry in errors):
            where = expected.location if expected.location is not None else expected.index
            return f"{expected.code} is not at {where}: {errors}"
    for path, value in expected.has.items():
        came = found(content, path)
        if came is None or (value is not ... and came != value):
            return f"{path}: {'something' if value is ... else repr(value)} expected, {came!r} came"
    return ""


def codes_in(content: object) -> list[str]:
    """Give the H-codes of a refusal, in whichever of İYS's shapes and spellings."""
    return [code for entry in _errors(content) if (code := _code(entry))]


def _errors(content: object) -> list[Mapping[str, object]]:
    if not isinstance(content, dict):
        return []
    # A client in use reads H084 without the envelope.
    errors = content.get("errors", [content])
    return [entry for entry in errors if isinstance(entry, dict)] if errors else []


def _code(entry: Mapping[str, object]) -> str:
    return str(entry.get("code") or entry.get("code:") or "")


def _is_there(entry: Mapping[str, object], expected: Expected) -> bool:
    if expected.location is not None and entry.get("location") != list(expected.location):
        return False
    return expected.index is None or entry.get("index") == expected.index
