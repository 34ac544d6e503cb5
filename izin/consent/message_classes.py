"""Which messages need a consent: each class with its kind, and the article it follows from.

A message that promotes goods, services or the business itself is commercial and needs one (6563
m.6/1); so is a greeting, for it promotes the sender (Yönetmelik m.5/1), and a survey, which no
exemption covers. Informational messages need none, and İYS need not be queried for them (m.6/1-2,
m.6/5), on one condition that no code can check: **they promote nothing**. One advertising line in
an invoice makes the message commercial, so the caller names the class of the whole message.

The default is a commercial message, the strict class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from izin.consent.enums import TextEnum


class MessageKind(TextEnum):
    """Whether a message needs the recipient's consent."""

    COMMERCIAL = "commercial"
    EXEMPT = "exempt"


class MessageClass(TextEnum):
    """The subject of a message as a whole."""

    COMMERCIAL = "commercial"
    GREETING = "greeting"
    SURVEY = "satisfaction-survey"
    GOODS_IN_USE = "goods-in-use"
    SUBSCRIPTION = "subscription"
    MEMBERSHIP = "membership"
    PARTNERSHIP = "partnership"
    COLLECTION = "collection"
    DEBT_REMINDER = "debt-reminder"
    INFORMATION_UPDATE = "information-update"
    PURCHASE = "purchase"
    INVOICE = "invoice"
    DELIVERY = "delivery"
    ONE_TIME_PASSWORD = "one-time-password"  # noqa: S105  # the name of a class
    SECURITY_NOTICE = "security-notice"
    LEGAL_NOTICE = "legal-notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule:
    """The kind of a message class, its article and the reason."""

    kind: MessageKind
    article: str
    sentence: str


def _commercial(article: str, sentence: str) -> ClassRule:
    return ClassRule(kind=MessageKind.COMMERCIAL, article=article, sentence=sentence)


def _exempt(sentence: str) -> ClassRule:
    return ClassRule(kind=MessageKind.EXEMPT, article="Yön. m.6/1-2, m.6/5", sentence=sentence)


CLASSES: Mapping[MessageClass, ClassRule] = MappingProxyType(
    {
        MessageClass.COMMERCIAL: _commercial(
            "6563 m.6/1; Yön. m.5/1",
            "It promotes or markets goods, services or the business, or does so in part.",
        ),
        MessageClass.GREETING: _commercial(
            "Yön. m.5/1", "A wish or a greeting promotes the sender."
        ),
        MessageClass.SURVEY: _commercial(
            "Yön. m.5/1",
            "A question about satisfaction promotes the sender; no exemption covers it.",
        ),
        MessageClass.GOODS_IN_USE: _exempt(
            "Change, use or maintenance of supplied goods, if the address was given for that."
        ),
        MessageClass.SUBSCRIPTION: _exempt("Information about a current subscription."),
        MessageClass.MEMBERSHIP: _exempt("Information about a current membership."),
        MessageClass.PARTNERSHIP: _exempt("Information about a current partnership."),
        MessageClass.COLLECTION: _exempt("The collection of a payment."),
        MessageClass.DEBT_REMINDER: _exempt("A reminder of a debt."),
        MessageClass.INFORMATION_UPDATE: _exempt("A request to update the recipient's data."),
        MessageClass.PURCHASE: _exempt("The confirmation of an order or a purchase."),
        MessageClass.INVOICE: _exempt("The invoice or receipt of a purchase."),
        MessageClass.DELIVERY: _exempt("The delivery status of a purchase."),
        MessageClass.ONE_TIME_PASSWORD: _exempt(
            "A code to log in or to confirm something, which the recipient asked for: a situation "
            "similar to a membership or a purchase."
        ),
        MessageClass.SECURITY_NOTICE: _exempt(
            "A warning about the recipient's own account or data: a situation similar to a "
            "membership."
        ),
        MessageClass.LEGAL_NOTICE: _exempt("A notice that the law requires."),
    }
)
"""Every class with its rule."""
