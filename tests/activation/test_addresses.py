import ipaddress

import pytest

from activation import addresses, apps

NOT_PUBLIC = """
    0.0.0.0 10.0.0.1 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 192.168.1.1 100.64.0.1
    192.0.0.8 192.0.0.9 192.0.2.1 192.88.99.1 198.18.0.1 203.0.113.1 224.0.0.1 239.255.255.255
    233.252.0.1 240.0.0.1 255.255.255.255 168.63.129.16
    :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
    64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 2002:7f00:1:: 2002:808:808:: 2001::1 2001:db8::1
    3fff::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%lo fec0::1 ff02::1 ff0e::1 100::1 4000::1
    5f00::1
"""


@pytest.fixture(autouse=True)
def _closed(settings):
    settings.DEMO = False
    settings.WEBHOOK_ALLOW_PRIVATE = []


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::5", "::ffff:8.8.8.8"]
)
def test_public_address_is_allowed(address):
    assert addresses.is_allowed(address)


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_address_that_is_not_public_is_refused(address):
    assert not addresses.is_allowed(address)
    assert not addresses.is_public(ipaddress.ip_address(address))


def test_operator_opens_networks(settings):
    settings.WEBHOOK_ALLOW_PRIVATE = ["10.1.0.0/16", " fd00::/8"]
    assert addresses.is_allowed("10.1.2.3")
    assert addresses.is_allowed("::ffff:10.1.2.3")
    assert addresses.is_allowed("fd12::1")
    assert not addresses.is_allowed("10.2.0.1")
    assert not addresses.is_allowed("127.0.0.1")


def test_demo_opens_this_machine_alone(settings):
    settings.DEMO = True
    assert addresses.is_allowed("127.0.0.1")
    assert addresses.is_allowed("::1")
    assert not addresses.is_allowed("10.0.0.1")
    assert not addresses.is_allowed("0.0.0.0")


def test_misspelt_network_is_complained_about_at_the_start(settings):
    settings.WEBHOOK_ALLOW_PRIVATE = ["10.1.0.0/16", "10.2.x"]
    (complaint,) = apps.check_networks(None)
    assert "10.2.x" in complaint.msg
    settings.WEBHOOK_ALLOW_PRIVATE = ["10.1.0.0/16"]
    assert [*apps.check_networks(None)] == []
