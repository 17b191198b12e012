import os
import pwd
import signal
import time
from pathlib import Path

import psutil
import pytest

from cdp import process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")


@pytest.fixture
def secret(tmp_path):
    """A file that all may read, in a directory that only root may enter."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("found")
    (closed / "file").chmod(0o755)
    return closed / "file"


def run_as_nobody(script, tmp_path, *paths):
    """Run a script of the shell as nobody, who must reach the paths; return what it printed."""
    who = process.account(pwd.getpwnam("nobody").pw_uid, *paths)
    with (tmp_path / "output").open("wb") as out:
        process.spawn(["/bin/sh", "-c", script], out=out.fileno(), run_as=who).wait()
    return (tmp_path / "output").read_text()


def test_child_gets_through_a_closed_directory_that_it_must_reach(secret, tmp_path):
    # test asks access(2), which does not heed capabilities by itself.
    script = f"test -x {secret} && cat {secret}"
    assert run_as_nobody(script, tmp_path, secret) == "found"


def test_child_has_no_such_power_when_it_does_not_need_it(secret, tmp_path):
    assert run_as_nobody(f"cat {secret} 2>/dev/null", tmp_path, Path("/bin/sh")) == ""


def test_child_keeps_no_other_power_and_no_group(secret, tmp_path):
    script = "grep -E 'Cap(Prm|Eff|Inh|Amb)' /proc/self/status; id -u; id -G"
    assert run_as_nobody(script, tmp_path, secret).split() == [
        *("CapInh:", "0000000000000002"),
        *("CapPrm:", "0000000000000002"),
        *("CapEff:", "0000000000000002"),
        *("CapAmb:", "0000000000000002"),
        str(pwd.getpwnam("nobody").pw_uid),
        str(pwd.getpwnam("nobody").pw_gid),
    ]


def test_child_as_another_user_still_ends_with_its_parent(secret, tmp_path):
    who = process.account(pwd.getpwnam("nobody").pw_uid, secret)
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = process.spawn(["/bin/sleep", "60"], run_as=who)
        os.write(writer, str(child.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    child = int(os.read(reader, 100))
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)
