"""The tracking libraries from npm, installed once beside the file that pins them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"


def install():
    """Return where the libraries are, installing what package.json names if need be."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        reason = "NO CLIENTS FROM NPM: node and npm are missing (apt install nodejs npm)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    modules = CLIENTS / "node_modules"
    wanted = (CLIENTS / "package.json").read_text()
    mark = modules / ".installed"
    if not mark.exists() or mark.read_text() != wanted:
        argv = ["npm", "install", "--no-progress"]
        done = subprocess.run(argv, cwd=CLIENTS, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        mark.write_text(wanted)
    return modules
