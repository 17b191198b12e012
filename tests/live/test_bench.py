import subprocess
import sys

import pytest

from tests.live.product import MANAGE

pytestmark = pytest.mark.live


def test_the_rows_of_the_bench_can_be_measured():
    names = ["growth", "evaluation", "pages", "store", "river", "rechecks", "refreshing"]
    size = ["--customers", "1000", "--events", "5000"]
    argv = [sys.executable, "-m", "bench", *size, *names]
    done = subprocess.run(argv, cwd=MANAGE.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("| ")]) == 2 + 17
