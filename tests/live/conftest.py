"""A running product for all tests that only use it. Those that harm one make their own."""

import pytest

from tests.live.product import Product


@pytest.fixture(scope="session")
def live_product(tmp_path_factory):
    product = Product(tmp_path_factory.mktemp("live") / "var")
    product.start()
    yield product
    product.stop()
