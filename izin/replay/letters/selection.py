"""Which dead letters: by name, or by reason, source and time, and by what can be read of them."""

from dataclasses import dataclass
from datetime import datetime

from izin.replay.letters.letter import Content, Letter


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterSelection:
    """Which letters are meant; what is empty does not restrict them."""

    names: frozenset[str] = frozenset()
    """``partition/offset`` in the topic of dead letters."""
    because: frozenset[str] = frozenset()
    """Reasons, or codes of violations."""
    sources: frozenset[str] = frozenset()
    """Topics that the records come from."""
    origins: frozenset[str] = frozenset()
    brands: frozenset[int] = frozenset()
    since: datetime | None = None
    """The records were appended at this instant or later."""
    until: datetime | None = None
    """They were appended before it."""

    @property
    def needs_content(self) -> bool:
        """Whether letters have to be decoded to know."""
        return bool(self.origins or self.brands)

    @property
    def is_filtered(self) -> bool:
        """Whether it restricts letters otherwise than by name."""
        others = self.because, self.sources, self.since, self.until
        return self.needs_content or any(others)

    def takes(self, letter: Letter) -> bool:
        """Whether ``letter`` is meant, as far as it shows without being decoded."""
        codes = {letter.reason, *(one.code for one in letter.violations)}
        return (
            (not self.names or letter.name in self.names)
            and (not self.because or bool(self.because & codes))
            and (not self.sources or letter.topic in self.sources)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )

    def takes_content(self, content: Content | None) -> bool:
        """Whether a letter with this ``content`` is meant; what cannot be read never is, where
        this has to be known.
        """
        if content is None:
            return not self.needs_content
        event = content.event
        return (not self.origins or event.origin in self.origins) and (
            not self.brands or event.brand_code in self.brands
        )
