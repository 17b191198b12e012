import threading
import time

import httpcore2
import pytest

from activation import network


@pytest.fixture
def resolves(monkeypatch):
    """Have names resolve to these addresses, one list for each time they are looked up."""

    def to(*answers):
        left = [*answers]
        monkeypatch.setattr(network, "resolve", lambda host, port: left.pop(0))
        return left

    return to


def connect(host="receiver.example", port=80):
    with network.deadline(2):
        return network.GuardedBackend().connect_tcp(host, port, 1)


@pytest.mark.parametrize("private", ["10.0.0.1", "169.254.169.254", "::ffff:192.168.0.1"])
def test_one_private_address_among_public_ones_is_enough_to_refuse(resolves, private):
    resolves(["8.8.8.8", private])
    with pytest.raises(network.RefusedAddressError, match="is not a public address"):
        connect()


def test_name_is_resolved_once_so_that_it_cannot_change_its_mind(
    resolves, monkeypatch, settings, receiver
):
    settings.DEMO = False
    left = resolves(["203.0.114.7"], ["127.0.0.1"])  # public when checked, private when called
    called = []
    monkeypatch.setattr(
        httpcore2.SyncBackend, "connect_tcp", lambda self, host, *_: called.append(host)
    )
    connect("rebind.example", receiver.port)
    assert called == ["203.0.114.7"]
    assert left == [["127.0.0.1"]]


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "localhost"])
def test_other_spellings_of_this_machine_are_refused(settings, receiver, host):
    settings.DEMO = False
    with pytest.raises(network.RefusedAddressError):
        connect(host, receiver.port)


def test_next_address_is_tried_if_one_does_not_answer(resolves, receiver):
    resolves(["127.0.0.2", "127.0.0.1"])  # the receiver listens on the second alone
    connect(port=receiver.port).close()


def test_next_address_is_tried_if_one_swallows_everything(resolves, monkeypatch, receiver):
    resolves(["127.0.0.9", "127.0.0.1"])
    real, waits = httpcore2.SyncBackend.connect_tcp, []

    def connect_tcp(self, host, port, timeout, *rest):
        if host == "127.0.0.9":
            waits.append(timeout)
            raise httpcore2.ConnectTimeout
        return real(self, host, port, timeout, *rest)

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect_tcp)
    with network.deadline(10):
        network.GuardedBackend().connect_tcp("two.example", receiver.port, 3).close()
    assert waits == [pytest.approx(1.5, abs=0.1)]


def test_unknown_host_is_said_to_be_unknown():
    with pytest.raises(network.UnknownHostError, match=r"no-such-host\.invalid has no address"):
        connect("no-such-host.invalid")


def test_name_that_no_receiver_may_have_is_unknown():
    with pytest.raises(network.UnknownHostError):
        connect("a..b")


def test_resolver_that_hangs_does_not_hang_us(monkeypatch):
    monkeypatch.setattr(network, "RESOLVE_SECONDS", 0.1)
    enough = threading.Event()
    monkeypatch.setattr(network, "resolve", lambda host, port: enough.wait(60))
    with pytest.raises(network.UnknownHostError, match="in time"):
        connect()
    enough.set()


def test_nothing_starts_after_the_deadline(receiver):
    with network.deadline(0.01):
        time.sleep(0.02)
        with pytest.raises(network.DeadlineError):
            network.GuardedBackend().connect_tcp("127.0.0.1", receiver.port, 1)
