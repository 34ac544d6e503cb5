"""The errors of subscribers and their webhooks.

SourceError
├── UnknownSubscriberError   no subscriber of this name
├── TakenSubscriberError     a subscriber of this name exists
├── RunningResendError       a resend of this subscriber is not done
├── NoResendError            no resend of this subscriber is under way
├── UnknownPlaceError        a partition of no topic that webhooks are made of
└── RefusedUrlError          a URL to which no webhook may be posted
"""

from collections.abc import Sequence

from izin.consent.errors import SourceError


class UnknownSubscriberError(SourceError):
    """No subscriber of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no subscriber {name}; see: izin subscribers list")


class TakenSubscriberError(SourceError):
    """A subscriber of this name exists."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a subscriber {name} exists; choose another name")


class RunningResendError(SourceError):
    """A resend of this subscriber is not done."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"an earlier resend of {name} is not done; see izin subscribers show {name}, and order "
            f"this one when it is, or after izin subscribers resend {name} --cancel"
        )


class NoResendError(SourceError):
    """No resend of this subscriber is under way."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no resend of {name} is under way; see: izin subscribers show {name}")


class UnknownPlaceError(SourceError):
    """A partition of no topic that webhooks are made of."""

    def __init__(self, place: tuple[str, int], topics: Sequence[str]) -> None:
        super().__init__(
            f"{place[0]}/{place[1]} is no partition of {', '.join(topics)}; name one of theirs"
        )


class RefusedUrlError(SourceError):
    """A URL to which no webhook may be posted."""
