"""Where threads come from, so that everything else is given them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import Any


class DaemonThreads:
    """Starts named daemon threads: none of them keeps a stopping process alive."""

    def __init__(self) -> None:
        self._background = ThreadPoolExecutor(2, thread_name_prefix="background")

    def start(self, name: str, run: Callable[[], None]) -> Thread:
        """Run `run` on a new daemon thread called `name`."""
        thread = Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def background(self, work: Callable[[], Any]) -> "Future[Any]":
        """Run what may block for a short while, and return its future."""
        return self._background.submit(work)

    def stop(self) -> None:
        """Start nothing any more; what runs is not waited for."""
        self._background.shutdown(wait=False, cancel_futures=True)
