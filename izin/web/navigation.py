"""The navigation of the console: what each screen is called, and where it is."""

from typing import NamedTuple

from izin.web.rights import Permit


class Entry(NamedTuple):
    """An entry of the navigation."""

    path: str
    name: str
    """English, with a Turkish text."""
    right: Permit = Permit.SEE


NAVIGATION = (
    Entry("/", "Overview"),
    Entry("/recipient", "Recipient"),
    Entry("/worklist", "Worklist"),
    Entry("/deadlines", "Deadlines"),
    Entry("/imports", "Imports"),
    Entry("/customers", "Customers and brands"),
    Entry("/complaints", "Complaints"),
    Entry("/subscribers", "Subscribers"),
    Entry("/months", "Monthly report"),
    Entry("/acts", "Acts"),
)
