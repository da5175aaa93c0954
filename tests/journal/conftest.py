import os
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def fast_folder():
    """A folder in memory where there is one: for tests of content, not of durability."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="journal-", dir=place))
    yield path
    shutil.rmtree(path)
