"""The embedded server, started and killed for real."""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psycopg
import pytest

from cdp import cluster, embedded, process

AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A cluster in a deep path (a socket's has 107 bytes at most) below a closed directory."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o700)
    deep = closed / ("deep" * 25) / ("deep" * 25)
    with embedded.running(deep, lasting=False) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (fact text)")
    yield deep
    embedded.stop(deep)


def query(data_dir, text):
    with psycopg.connect(embedded.url(data_dir)) as connection:
        return connection.execute(text).fetchone()[0]


def postmaster(data_dir):
    return next(pid for pid, is_postmaster in embedded._processes(data_dir) if is_postmaster)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@contextlib.contextmanager
def busy_session(data_dir):
    """A query that never looks up from its work."""

    def work():
        with contextlib.suppress(psycopg.Error):
            query(data_dir, "SELECT count(*) FROM generate_series(1, 1e12::bigint)")

    thread = threading.Thread(target=work)
    thread.start()
    at_work = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ 'series'"
    wait_for(lambda: query(data_dir, at_work) == 2)  # the one that asks is another
    yield
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_server_is_set_up_as_the_product_wants_it(data_dir):
    wanted = {"listen_addresses": "", "TimeZone": "UTC", "jit": "off"}
    wanted |= {"server_encoding": "UTF8", "is_superuser": "on"}
    with embedded.running(data_dir, lasting=False):
        asked = {name: query(data_dir, f"SELECT current_setting('{name}')") for name in wanted}
        assert asked == wanted
        # Texts sort by code point and change case beyond ASCII.
        assert query(data_dir, "SELECT upper('é') || ('Z' < 'a')") == "Étrue"
        assert cluster.log_path(data_dir).stat().st_mode & 0o077 == 0


def test_lasting_server_keeps_what_it_confirmed_through_a_power_cut(data_dir):
    with embedded.running(data_dir):
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert query(data_dir, f"SELECT current_setting('{setting}')") == "on"


def test_last_one_to_leave_stops_the_server(data_dir):
    with embedded.running(data_dir, lasting=False):
        with embedded.running(data_dir, lasting=False):
            pid = postmaster(data_dir)
        assert postmaster(data_dir) == pid
    assert not embedded._processes(data_dir)


def test_server_starts_again_after_all_of_it_was_killed(data_dir):
    embedded.start(data_dir)
    with psycopg.connect(embedded.url(data_dir)) as connection:
        connection.execute("INSERT INTO kept VALUES ('committed')")
    for pid, _ in embedded._processes(data_dir):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not embedded.is_running(data_dir))
    with embedded.running(data_dir):
        assert query(data_dir, "SELECT count(*) FROM kept WHERE fact = 'committed'") == 1


def test_server_starts_again_while_a_session_of_the_killed_one_works_on(data_dir):
    embedded.start(data_dir, lasting=False)
    with busy_session(data_dir):
        os.kill(postmaster(data_dir), signal.SIGKILL)
        wait_for(lambda: not embedded.is_running(data_dir))
        assert embedded._processes(data_dir), "the session should have outlived its server"
        with embedded.running(data_dir, lasting=False):
            assert query(data_dir, "SELECT 1") == 1


def test_server_starts_again_before_the_killed_one_is_buried(data_dir):
    killed = embedded.launch(data_dir, lasting=False)
    embedded.wait_until_ready(data_dir)
    os.kill(killed.pid, signal.SIGKILL)
    wait_for(lambda: not embedded._processes(data_dir))
    with embedded.running(data_dir, lasting=False):
        assert query(data_dir, "SELECT 1") == 1
        os.kill(killed.pid, 0)  # a zombie until somebody asks how it ended
    killed.wait()


def test_pid_file_that_names_a_stranger_does_not_hinder_the_start(data_dir):
    with embedded.running(data_dir, lasting=False):
        file = cluster.directory(data_dir) / "postmaster.pid"
        left_behind = file.read_text().split("\n", 1)[1]
    file.write_text(f"{os.getppid()}\n{left_behind}")
    with embedded.running(data_dir, lasting=False):
        assert query(data_dir, "SELECT 1") == 1


def test_server_ends_with_the_process_that_launched_it(data_dir):
    code = f"""
        import time
        from pathlib import Path
        from cdp import embedded
        embedded.launch(Path({str(data_dir)!r}))
        print("launched", flush=True)
        time.sleep(60)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    parent = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout.readline() == b"launched\n"
    embedded.wait_until_ready(data_dir)
    parent.kill()
    parent.communicate()
    wait_for(lambda: not embedded._processes(data_dir))


def test_only_one_can_keep_the_server(data_dir):
    with embedded.keeping(data_dir), pytest.raises(embedded.EmbeddedError, match="already runs"):
        embedded.keeping(data_dir).__enter__()


def test_commands_wait_for_the_server_of_whoever_keeps_it(data_dir):
    found = []

    def command():
        with embedded.running(data_dir):
            found.append(postmaster(data_dir))

    with embedded.keeping(data_dir):
        thread = threading.Thread(target=command)
        thread.start()
        time.sleep(0.3)
        assert not found
        server = embedded.launch(data_dir, lasting=False)
        thread.join(timeout=10)
        assert found == [server.pid]
        assert embedded.is_running(data_dir)
        embedded.stop(data_dir)
        server.wait()


def test_half_made_cluster_is_made_again(tmp_path):
    (tmp_path / "pg.new").mkdir()
    (tmp_path / "pg.new" / "PG_VERSION").write_text("18\n")
    with embedded.running(tmp_path, lasting=False):
        assert query(tmp_path, "SELECT 1") == 1


def test_server_that_cannot_start_says_why(data_dir):
    configuration = cluster.directory(data_dir) / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("no_such_setting = 1\n")
    try:
        with pytest.raises(embedded.EmbeddedError, match="no_such_setting"):
            embedded.start(data_dir)
    finally:
        configuration.write_text(good)


@pytest.mark.skipif(not AS_ROOT, reason="needs root to act as two users")
def test_two_users_run_their_servers_side_by_side(data_dir, tmp_path):
    code = f"""
        from pathlib import Path
        import psycopg
        from cdp import embedded
        with embedded.running(Path({str(tmp_path / "theirs")!r}), lasting=False) as url:
            print(psycopg.connect(url).execute("SELECT 'served'").fetchone()[0])
    """
    nobody = pwd.getpwnam("nobody")
    os.chown(tmp_path, nobody.pw_uid, nobody.pw_gid)
    log = tmp_path / "output"
    with embedded.running(data_dir, lasting=False), log.open("wb") as out:
        who = process.account(nobody.pw_uid, tmp_path, cluster.program("postgres"))
        argv = [sys.executable, "-c", textwrap.dedent(code)]
        code = process.spawn(argv, out=out.fileno(), run_as=who).wait()
        assert (code, log.read_text()) == (0, "served\n")
        assert query(data_dir, "SELECT 1") == 1
    assert (tmp_path / "theirs/pg").stat().st_uid == nobody.pw_uid


@pytest.mark.skipif(not AS_ROOT, reason="needs root to act as two users")
def test_socket_directory_made_by_another_user_is_refused(tmp_path):
    sockets = cluster.socket_dir(tmp_path)
    sockets.mkdir()
    os.chown(sockets, pwd.getpwnam("nobody").pw_uid, -1)
    try:
        with pytest.raises(embedded.EmbeddedError, match="somebody else"):
            embedded.start(tmp_path)
    finally:
        sockets.rmdir()


@pytest.mark.skipif(not AS_ROOT, reason="needs root to act as two users")
def test_data_of_another_user_is_refused_with_a_hint(data_dir, tmp_path):
    code = f"""
        from pathlib import Path
        from cdp import embedded
        try:
            embedded.launch(Path({str(data_dir)!r}))
        except embedded.EmbeddedError as error:
            print(error)
    """
    nobody = pwd.getpwnam("nobody")
    log = tmp_path / "output"
    with log.open("wb") as out:
        who = process.account(nobody.pw_uid, tmp_path)
        argv = [sys.executable, "-c", textwrap.dedent(code)]
        process.spawn(argv, out=out.fileno(), run_as=who).wait()
    assert "belongs to another user" in log.read_text()
