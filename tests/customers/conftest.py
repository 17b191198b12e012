import pytest


@pytest.fixture
def import_fields(make_field):
    for name, kind in (
        ("city", "string"),
        ("points", "number"),
        ("born", "datetime"),
        ("vip", "boolean"),
    ):
        make_field(name, kind)
