"""A running product for all tests that only use it. Those that harm one make their own."""

import psycopg
import pytest

from cdp import embedded
from tests.live import npm
from tests.live.product import Product


@pytest.fixture(scope="session")
def live_product(tmp_path_factory):
    product = Product(tmp_path_factory.mktemp("live") / "var")
    product.start()
    yield product
    product.stop()


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
