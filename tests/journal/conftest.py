import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def seed(request):
    """The seed of a random test: shown when it fails, and taken back from --seed or XCORE_SEED."""
    given = request.config.getoption("--seed", default=None) or os.environ.get("XCORE_SEED")
    value = random.SystemRandom().randrange(1, 2**31) if given is None else int(given)
    sys.stdout.write(f"seed {value} (again: XCORE_SEED={value})\n")
    return value


@pytest.fixture
def fast_folder():
    """A folder in memory where there is one: for tests of content, not of durability."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="journal-", dir=place))
    yield path
    shutil.rmtree(path)
