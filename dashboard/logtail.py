"""The newest lines of the core's log file, read from the file: the core is not asked for them."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

KEPT_MAX: Final = 300
FIRST_BYTES: Final = 64_000
READ_MAX: Final = 1_000_000
LOOK_EVERY_S: Final = 0.5

Row = dict[str, Any]


class LogTail:
    """Follows a file of JSON lines over its rotations. `number` counts all lines ever taken."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._place: tuple[int, int] | None = None  # inode, offset
        self._rest = b""
        self.lines: deque[Row] = deque(maxlen=KEPT_MAX)
        self.number = 0

    async def run(self, changed: Callable[[], None]) -> None:
        """Look for new lines for ever."""
        while self._path is not None:
            if self.look():
                changed()
            await asyncio.sleep(LOOK_EVERY_S)

    def after(self, number: int) -> list[Row]:
        """Return the lines behind the first `number`, as far as they are kept."""
        fresh = min(self.number - number, len(self.lines))
        return list(self.lines)[-fresh:] if fresh > 0 else []

    def look(self) -> bool:
        """Take what was appended; tell whether there was any. A file that is not there is empty."""
        assert self._path is not None
        try:
            with self._path.open("rb") as file:
                raw = self._read(file)
        except OSError:
            return False
        *whole, self._rest = (self._rest + raw).split(b"\n")
        before = self.number
        for line in whole:
            self._take(line)
        return self.number > before

    def _read(self, file: Any) -> bytes:
        inode = Path(f"/proc/self/fd/{file.fileno()}").stat().st_ino
        size = file.seek(0, 2)
        if self._place is None or self._place[0] != inode or self._place[1] > size:
            is_first, self._rest = self._place is None, b""
            start = max(0, size - FIRST_BYTES) if is_first else 0
            self._place = (inode, start)
            if start:
                file.seek(start)
                file.readline()
                self._place = (inode, file.tell())
        file.seek(self._place[1])
        raw: bytes = file.read(READ_MAX)
        self._place = (inode, self._place[1] + len(raw))
        return raw

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
        except ValueError:
            return
        if isinstance(row, dict):
            row.pop("trace", None)
            self.lines.append(row)
            self.number += 1
