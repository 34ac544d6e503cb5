"""A webhook is posted to public addresses, and to those that the operator allows."""

from ipaddress import ip_address

import pytest

from izin.sinks.webhooks.posting import AllowedTargets, is_public

REFUSED = (
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.1",
    "192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "192.88.99.1", "224.0.0.1",
    "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1",
    "2001:db8::1", "3fff::1", "2001::1", "100::1", "64:ff9b:1::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::6440:1",
    "2002:7f00:1::", "2002:a00:1::", "2002:c0a8:101::1",
)  # fmt: skip
PUBLIC = (
    "93.184.216.34", "8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:2800:220:1::1",
    "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::1",
)  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_address_of_no_public_host_is_refused(text: str) -> None:
    """Private, shared, local, multicast, for documents, or standing for such an IPv4 address."""
    assert not is_public(ip_address(text))
    assert AllowedTargets().refusal("host", text, is_plain=False) is not None


@pytest.mark.parametrize("text", PUBLIC)
def test_public_address_is_accepted_with_tls_alone(text: str) -> None:
    """Also where it stands for an IPv4 address that is public."""
    assert is_public(ip_address(text))
    assert AllowedTargets().refusal("host", text, is_plain=False) is None
    assert "https" in str(AllowedTargets().refusal("host", text, is_plain=True))


@pytest.mark.parametrize(
    ("host", "address", "is_allowed"),
    [
        ("other", "10.1.2.3", True),
        ("other", "::ffff:10.1.2.3", True),
        ("other", "10.2.0.1", False),
        ("CRM.internal", "192.168.0.1", True),
        ("crm.internal.example.com", "192.168.0.1", False),
        ("other", "::1", True),
    ],
)
def test_operator_allows_hosts_and_networks(host: str, address: str, is_allowed: bool) -> None:
    """Of these the address is not asked for, nor TLS; of nothing else."""
    allowed = AllowedTargets.parse(["10.1.0.0/16", "crm.internal", "::1"])
    assert (allowed.refusal(host, address, is_plain=True) is None) is is_allowed


def test_zone_of_an_address_is_no_way_around() -> None:
    """Link-local addresses may come with the name of an interface."""
    assert AllowedTargets().refusal("host", "fe80::1%eth0", is_plain=False) is not None


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"]
)
@pytest.mark.parametrize("listed", ["crm.internal", "169.254.0.0/16", "0.0.0.0/0", "::/0"])
def test_link_local_address_is_never_posted_to(address: str, listed: str) -> None:
    """A name that the operator allows may come to resolve to the machine's credentials."""
    allowed = AllowedTargets.parse([listed])
    assert allowed.refusal("crm.internal", address, is_plain=False)
    assert allowed.refusal("crm.internal", address, is_plain=True)


@pytest.mark.parametrize("address", ["192.0.0.0", "192.0.0.9", "192.0.0.192", "192.0.0.255"])
def test_every_address_of_a_listed_range_is_refused(address: str) -> None:
    """Python 3.11 counts some of them as public."""
    assert not is_public(ip_address(address))
