"""How many identifiers of a kind a profile takes is set in the environment."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from cdp import limits


def test_limits_are_the_usual_ones_and_those_that_are_set():
    assert limits.read([]) == limits.USUAL
    read = limits.read(["anonymous_id=3", " loyalty = 1"])
    assert read == {"anonymous_id": 3, "email": 100, "phone": 100, "loyalty": 1}


@pytest.mark.parametrize("pair", ["", "email", "email=", "email=0", "email=-1", "customer_id=2"])
def test_limit_that_is_none_is_refused_with_an_example(pair):
    with pytest.raises(ImproperlyConfigured, match="anonymous_id=50,loyalty=1"):
        limits.read([pair])
