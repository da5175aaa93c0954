"""Which venues run which cases of the tests that hold for every venue.

The first two run them all. Each further venue runs a third, chosen by the case's name, so that three of
them in a row run every case. `--all-venues` runs everything everywhere.
"""

from zlib import crc32

ALL_CASES = ("binance", "okx")
PARTS = 3


def is_case_of(venue, case, venues):
    """Tell whether this venue, one of `venues` in their order, runs this case."""
    if venue in ALL_CASES:
        return True
    others = [name for name in venues if name not in ALL_CASES]
    return crc32(case.encode()) % PARTS == others.index(venue) % PARTS


def case_of(item, parameter):
    """Return the name of a collected test's case without the parameter that names the venue."""
    others = {k: v for k, v in item.callspec.params.items() if k != parameter}
    return f"{item.originalname} {sorted(others.items())}"


def leave_the_others(config, items, is_run):
    """Deselect what another venue runs; for a `pytest_collection_modifyitems`."""
    runs_all = config.getoption("--all-venues")
    left = [item for item in items if not is_run(item, runs_all)]
    if left:
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)
