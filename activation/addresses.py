"""Which addresses a server of ours may call on behalf of staff: the public internet only."""

import ipaddress
from typing import TypeAlias

from django.conf import settings

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK = ("127.0.0.0/8", "::1/128")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that was ever handed out

# What `is_global` of Python 3.11 takes for public and is not.
_REFUSED = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure's host, seen from within
            "192.0.0.0/24",  # protocols of the IETF
            "192.88.99.0/24",  # relays of 6to4
            "2001::/23",  # protocols of the IETF, among them Teredo, which wraps IPv4
            "2002::/16",  # 6to4 wraps IPv4
            "3fff::/20",  # documentation
        ),
    )
)


def is_allowed(text: str) -> bool:
    """Say whether we may connect to this numeric address: public, or opened by the operator."""
    address = unwrap(ipaddress.ip_address(text))
    return is_public(address) or any(address in network for network in opened())


def is_public(address: Address) -> bool:
    """Say whether an address belongs to the public internet, whichever way it is written."""
    address = unwrap(address)
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False  # among others fec0::/10, 64:ff9b::/96 (NAT64) and ::127.0.0.1
    if any(address in network for network in _REFUSED):
        return False
    return address.is_global and not address.is_multicast


def unwrap(address: Address) -> Address:
    """Return the IPv4 address within ::ffff:1.2.3.4, which reaches the same host; else itself."""
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def opened() -> list[Network]:
    """Return the networks that the operator has opened; the demo opens this very machine."""
    networks = [*settings.WEBHOOK_ALLOW_PRIVATE, *(_LOOPBACK if settings.DEMO else ())]
    return [ipaddress.ip_network(network.strip(), strict=False) for network in networks]
