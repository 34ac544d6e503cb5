"""Links that act for a person: an opt-out from a mail or a text message, a consent to confirm.

A link is encrypted: it says nothing of its recipient, and nobody can make one. It needs the package
``cryptography`` (``izin[links]``), which publishing alone does not::

    from izin.producers.links import LinkKeys, opt_out_link

    keys = LinkKeys([secret, older_secret])  # as IZIN_LINK_SECRETS of the intake has them
    url = opt_out_link(keys, "https://izin.example.com", brand_code=100001,
                       channel="EPOSTA", recipient="ada@example.com")

Put it into a mail as RFC 8058 has it: ``List-Unsubscribe: <URL>`` and
``List-Unsubscribe-Post: List-Unsubscribe=One-Click``, and into its text.
"""

from izin.producers.links.sealed import (
    BrokenLinkError,
    LinkKeys,
    OptOutLink,
    opt_out_link,
)

__all__ = ("BrokenLinkError", "LinkKeys", "OptOutLink", "opt_out_link")
