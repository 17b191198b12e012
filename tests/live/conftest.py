"""Two running products: one for all tests that only use it, one for those that harm it."""

import os
import pwd

import psycopg
import pytest

from cdp import cluster, embedded, process
from tests.live import npm
from tests.live.product import Product


@pytest.fixture(scope="session")
def live_product(tmp_path_factory):
    product = Product(
        tmp_path_factory.mktemp("live") / "var", CDP_WEBHOOK_ALLOW_PRIVATE="127.0.0.0/8"
    )
    product.start()
    yield product
    product.stop()


@pytest.fixture(scope="session")
def _harmed_product(tmp_path_factory):
    """Root runs it as another user, who is then a normal one."""
    place, run_as = tmp_path_factory.mktemp("harmed"), None
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
        run_as = process.account(nobody.pw_uid, place, cluster.program("postgres"))
    product = Product(place / "var", run_as=run_as, CDP_WEBHOOK_ALLOW_PRIVATE="127.0.0.0/8")
    yield product
    if product.is_up():
        product.stop()


@pytest.fixture(scope="module")
def harmed_product(_harmed_product):
    """It runs as a module begins, whatever the one before has done to it."""
    if not _harmed_product.is_up():
        _harmed_product.start()
    return _harmed_product


@pytest.fixture(scope="session")
def node_modules():
    return npm.install()


@pytest.fixture
def select():
    """Read from the database of a product that runs, also after that was restarted."""

    def run(product, statement, *values):
        with psycopg.connect(embedded.url(product.data_dir), autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    return run
