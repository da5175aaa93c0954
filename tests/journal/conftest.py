import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def seed(request):
    """The seed of a random test: printed, and taken back with --seed where that option exists."""
    given = request.config.getoption("--seed", default=None)
    value = (
        int(given)
        if given is not None
        else int(os.environ.get("XCORE_SEED", 0)) or (random.SystemRandom().randrange(1, 2**31))
    )
    print(f"seed {value} (again: XCORE_SEED={value})")
    return value


@pytest.fixture
def fast_folder():
    """A folder in memory where there is one: for tests of content, not of durability."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="journal-", dir=place))
    yield path
    shutil.rmtree(path)
