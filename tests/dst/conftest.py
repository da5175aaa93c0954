import sys
from pathlib import Path

import pytest
from loguru import logger

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser):
    parser.addoption("--dst-seed", type=int, default=None, help="run this one simulated seed")


@pytest.fixture(autouse=True, scope="session")
def _quiet_log():
    logger.remove()
