"""How tests wait: for a condition, with a deadline. The one place in the tests that pauses."""

import asyncio
import time

DEADLINE_S = 30
STEP_S = 0.005


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """Return the first truthy answer of `condition`, or fail at the deadline with `what`."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= end:
            raise AssertionError(f"not within {deadline_s} s: {what() if callable(what) else what}")
        time.sleep(STEP_S)


async def wait_for_async(condition, what, deadline_s=DEADLINE_S):
    """The same on an event loop, which goes on meanwhile."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(STEP_S)
