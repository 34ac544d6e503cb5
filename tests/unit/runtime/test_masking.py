"""However a recipient is spelt, and whatever stands around it, it is not shown."""

import random
import re

import pytest

from izin.runtime.masking import mask, mask_text

SEPARATORS = (
    *(" ", ".", "-", "/", "(", ")", "_", "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}", "\t"),
    *("\N{EN DASH}", "\N{NON-BREAKING HYPHEN}", "\N{ZERO WIDTH SPACE}", "\N{MIDDLE DOT}"),
    *("\N{SOFT HYPHEN}", "\N{ZERO WIDTH NO-BREAK SPACE}", "\N{MINUS SIGN}"),
)
GROUPS = ((3, 3, 2, 2), (3, 3, 4), (3, 7), (10,), (2, 2, 2, 2, 2), (5, 5), (1,) * 10, (4, 6))
BEGINNINGS = ("", "0", "90", "+90", "0090", "+90 (0)", "(0)", "+(90)")
AROUND = ("{}", "to {}, now", "'{}'", "<{}>", "k={}", "/a/{}/b", "({})", "tel:{}", "tel{}x", "{}.")
DOMAINS = ("example.com", "mail.example.org", "örnek.example")


def _phone(chance: random.Random) -> tuple[str, str]:
    """Return a number and one of its spellings."""
    digits = f"5{chance.randrange(10**9):09}"
    groups, at = [], 0
    for size in chance.choice(GROUPS):
        groups.append(digits[at : at + size])
        at += size
    between = [
        "".join(chance.choices(SEPARATORS, k=chance.randrange(4))) for _ in range(len(groups))
    ]
    parts = (part for pair in zip(between, groups, strict=True) for part in pair)
    return digits, chance.choice(BEGINNINGS) + "".join(parts)


def _email(chance: random.Random) -> tuple[str, str]:
    """Return what must not be shown of an address, and one of its spellings."""
    letters = "abcdefghijklmnopqrstuvwxyzçğıöşü0123456789._+-"
    local = "x" + "".join(chance.choices(letters, k=chance.randrange(8, 70))) + "z"
    at = chance.choice(("@", "%40", "\N{FULLWIDTH COMMERCIAL AT}"))
    return local, f"{local}{at}{chance.choice(DOMAINS)}"


def test_ten_thousand_spellings_show_nothing() -> None:
    """Numbers by their digits, addresses by what stands before the at sign."""
    chance = random.Random(37)
    for _ in range(10_000):
        digits, phone = _phone(chance)
        local, email = _email(chance)
        text = f"{chance.choice(AROUND).format(phone)} {chance.choice(AROUND).format(email)}"
        shown = mask_text(text)
        assert digits[1:9] not in re.sub(r"\D", "", shown), ascii(text)
        assert local not in shown, ascii(text)
        assert phone not in shown


@pytest.mark.parametrize(
    "spelling",
    [
        "0555.123.45.67",
        "+90/555/123/45/67",
        "0555\N{NO-BREAK SPACE}123\N{NO-BREAK SPACE}45\N{NO-BREAK SPACE}67",
        "0555-12-34567",
        "2026-03-02 0555 123 45 67",
        "02.03.2026 0555 123 45 67",
        "05.05.2000 1234567",
        "1.2.3.4 5551234567",
    ],
)
def test_number_is_masked_beside_what_looks_like_a_date(spelling: str) -> None:
    """What was reported, and what a date or an address before it might hide."""
    assert "1234567" not in re.sub(r"\D", "", mask_text(spelling))


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02 09:00:00",
        "at 02.03.2026 09:00:00 and 2026-03-02",
        "2026-03-02T09:00:00.125000+00:00",
        "127.0.0.1:9092, 192.168.100.200:8081 and 10.0.0.1",
        "offset 1234567 of consent-events[3]",
        "H112: no date, 12345678 rows",
    ],
)
def test_dates_addresses_and_short_numbers_are_shown(text: str) -> None:
    """Whoever reads a log needs them."""
    assert mask_text(text) == text


def test_two_addresses_in_one_word_show_neither() -> None:
    """What stands between two at signs is a domain, and the next address too."""
    assert mask_text("ada@example.com,veli@example.org") == "a***@***@example.org"
    assert mask("ada@example.com;veli@example.org") == "a***@***@example.org"


@pytest.mark.parametrize(
    "part", ["a", "5 ", "5", "a@", "1-", "5.a", "2026-03-02 ", "@", " ", "1.2."]
)
def test_long_texts_are_read_once(part: str) -> None:
    """A text of a megabyte that is read again from each of its characters takes hours."""
    assert mask_text(part * (1_000_000 // len(part)))
