"""Mask recipients in whatever is logged or shown: personal data (KVKK, Law 6698); controls in it
are written out.

What is masked is said by shape: everything with an at sign in it, and every run of nine or more
digits, however they are separated, but dates, instants and IPv4 addresses. So an offset may be
masked that is no phone number; a phone number is never shown for being spelt in a way that nobody
thought of. Each text is read once, in time proportional to its length.
"""

import re
from collections.abc import Mapping, MutableMapping

from izin.consent import visible

_AT = re.compile("@|%40|＠")
_WORD = re.compile(r"[^\s/\"'<>]+")
_SEPARATOR = (
    "[\\s().\\-/_\N{MIDDLE DOT}\N{MINUS SIGN}\N{HYPHEN}-\N{HORIZONTAL BAR}"
    "\N{SOFT HYPHEN}\N{ZERO WIDTH SPACE}-\N{ZERO WIDTH JOINER}\N{WORD JOINER}"
    "\N{ZERO WIDTH NO-BREAK SPACE}]"
)
_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_DATE = f"(?:[12][0-9]{{3}}-{_MONTH}-{_DAY}|{_DAY}[.]{_MONTH}[.](?:19|20)[0-9]{{2}})"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ENDS = f"(?!{_SEPARATOR}*\\d)"
_NUMBER = re.compile(
    f"(?P<shown>(?<!\\d)(?:{_DATE}(?:(?=[ T][0-9]{{2}}:[0-9]{{2}})|{_ENDS})"
    f"|{_BYTE}(?:[.]{_BYTE}){{3}}{_ENDS}))"
    f"|[+]?\\d(?:{_SEPARATOR}{{0,3}}\\d){{8,}}"
)
"""A date, an instant's date or an address, else nine digits or more."""
_UNMASKED_KEYS = frozenset({"timestamp", "level", "logger", "_record", "_from_structlog"})
"""What an event of a log has that no input reaches."""
_MASKED_KEYS = frozenset({"recipient", "recipient_raw", "recipients", "key", "keys"})
_SHORT = 4


def mask(recipient: str) -> str:
    """Return ``recipient`` masked: country and last two digits, or first letter and domain."""
    local, *between, domain = _AT.split(recipient) if _AT.search(recipient) else (recipient, "")
    if local != recipient:
        return f"{local[:1]}***@{'***@' * len(between)}{domain}"
    if len(recipient) <= _SHORT:
        return "***"
    return f"{recipient[:3]}***{recipient[-2:]}"


def mask_text(text: str) -> str:
    """Return ``text`` with everything in it that looks like a recipient masked."""
    if _AT.search(text):
        text = _WORD.sub(lambda one: mask(one[0]) if _AT.search(one[0]) else one[0], text)
    return _NUMBER.sub(lambda found: found["shown"] or mask(found.group()), text)


def masked(name: str, value: object) -> object:
    """Return ``value``, of any type, with everything masked that looks like a recipient, and its
    controls written out.
    """
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, Mapping):
        return {masked("", one): masked(str(one), other) for one, other in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(name, one) for one in value]
    if name in _MASKED_KEYS:
        head, slash, recipient = _text(value).rpartition("/")
        return visible(f"{head}{slash}{mask(recipient)}")
    return value if isinstance(value, int) else visible(mask_text(_text(value)))


def mask_event(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Mask an event of a log: a processor of structlog."""
    for name, value in event.items():
        if name not in _UNMASKED_KEYS:
            event[name] = masked(name, value)
    return event


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    return str(value)
