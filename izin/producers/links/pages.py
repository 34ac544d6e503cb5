"""The pages that a link shows: Turkish and English, without a script, a cookie or a picture."""

from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Final, NamedTuple

from izin.consent import Channel

HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
)
_CHANNELS: Final[Mapping[str, tuple[str, str]]] = {
    Channel.ARAMA: ("aramalar", "calls"),
    Channel.MESAJ: ("kısa mesajlar", "text messages"),
    Channel.EPOSTA: ("e-postalar", "e-mails"),
}
_STYLE: Final = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;"
    "color:#1a1a1a;background:#fff}button{font:inherit;padding:.7rem 1.1rem;margin:.3rem .5rem "
    ".3rem 0;border:2px solid #1a1a1a;border-radius:.4rem;background:#fff;cursor:pointer}"
    "button:focus-visible{outline:3px solid #06c}hr{border:0;border-top:1px solid #ccc;margin:2rem "
    "0}@media(prefers-color-scheme:dark){body,button{color:#eee;background:#161616;"
    "border-color:#eee}}"
)


class Button(NamedTuple):
    """A button of a page, and what is posted by it."""

    name: str
    value: str
    turkish: str
    english: str


class PageText(NamedTuple):
    """What a page says in both languages."""

    turkish: str
    english: str


GONE: Final = PageText(
    "Bu bağlantı geçerli değil. Göndericiye başvurun.",
    "This link is not valid. Please turn to the sender.",
)
LATER: Final = PageText(
    "Şu anda kaydedilemedi. Lütfen birkaç dakika sonra yeniden deneyin.",
    "It could not be recorded now. Please try again in a few minutes.",
)
CONFIRMED: Final = PageText("Onayınız kaydedildi.", "Your consent is recorded.")


def ask_opt_out(brand: str, channel: Channel, *, has_others: bool) -> str:
    """Return the page that asks what to opt out of."""
    turkish, english = _CHANNELS[channel]
    buttons = [Button("scope", "channel", f"Yalnızca {turkish}", f"Only {english}")]
    if has_others:
        buttons.append(Button("scope", "brand", "Tüm ticari iletiler", "All commercial messages"))
    asked = PageText(f"{brand} iletileri durdurulsun mu?", f"Stop messages from {brand}?")
    return page(asked, buttons)


def ask_confirmation(brand: str, channels: Sequence[Channel]) -> str:
    """Return the page that asks to confirm a consent."""
    named = [_CHANNELS[channel] for channel in channels]
    asked = PageText(
        f"{brand} size ticari ileti göndersin mi: {', '.join(one for one, _ in named)}?",
        f"May {brand} send you commercial messages: {', '.join(one for _, one in named)}?",
    )
    return page(asked, [Button("confirm", "yes", "Evet, onaylıyorum", "Yes, I consent")])


def opted_out(brand: str) -> str:
    """Return the page that says that it is done."""
    return page(
        PageText(
            f"Tamam: {brand} bundan böyle size bu iletileri göndermeyecek.",
            f"Done: {brand} will not send you these messages any more.",
        )
    )


def page(said: PageText, buttons: Sequence[Button] = ()) -> str:
    """Return a page that says this, with ``buttons`` that post to its own address."""
    parts = []
    for language, text, label in (("tr", said.turkish, 2), ("en", said.english, 3)):
        shown = "".join(
            f'<button name="{button.name}" value="{button.value}">{escape(button[label])}</button>'
            for button in buttons
        )
        form = f'<form method="post">{shown}</form>' if shown else ""
        parts.append(f'<section lang="{language}"><p>{escape(text)}</p>{form}</section>')
    return (
        '<!doctype html><html lang="tr"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(said.turkish)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{'<hr>'.join(parts)}</main></body></html>"
    )
