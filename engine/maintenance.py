"""Windows in which a venue is not to be traded on, as an operator names them beforehand. Pure.

Three forms, all UTC: `2026-12-01T02:00/2026-12-01T04:30` once, `Sun 02:00-04:30` each week,
`daily 02:00-02:10`. An end that is not after its beginning lies on the next day.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from engine.clock import NS_PER_S

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_RECURRING: Final = re.compile(r"(daily|Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\d\d:\d\d)-(\d\d:\d\d)")
_DAY_S: Final = 86_400


class Window(NamedTuple):
    """One window: from `begin_s`, for `length_s`, again after `every_s` (0: never again)."""

    text: str
    begin_s: int
    length_s: int
    every_s: int


def window_of(text: str) -> Window:
    """Return the window that a text names. Raises ValueError that says how one is written."""
    found = _RECURRING.fullmatch(text)
    try:
        if found is None:
            begin, end = (_once(part) for part in text.split("/"))
            if end <= begin:
                raise ValueError(text)  # noqa: TRY301  told below, like every other wrong form
            return Window(text, begin, end - begin, 0)
        day, begins, ends = found.groups()
        begin, end = _of_day(begins), _of_day(ends)
    except ValueError:
        forms = "'2026-12-01T02:00/2026-12-01T04:30', 'Sun 02:00-04:30' or 'daily 02:00-02:10'"
        raise ValueError(f"no window: {text!r}; write {forms}, in UTC") from None
    length_s = (end - begin) % _DAY_S or _DAY_S
    if day == "daily":
        return Window(text, begin, length_s, _DAY_S)
    # The first of January 1970 was a Thursday.
    return Window(text, (DAYS.index(day) - 3) % 7 * _DAY_S + begin, length_s, 7 * _DAY_S)


def open_window(windows: Sequence[Window], wall_ns: int) -> str:
    """Return in words the window that is open at this time, and until when; empty if none is."""
    now_s = wall_ns // NS_PER_S
    for window in windows:
        since_s = now_s - window.begin_s
        if window.every_s:
            since_s %= window.every_s
        if 0 <= since_s < window.length_s:
            until = datetime.fromtimestamp(now_s - since_s + window.length_s, UTC)
            return f"maintenance window {window.text}, until {until:%Y-%m-%d %H:%M} UTC"
    return ""


def _of_day(text: str) -> int:
    moment = datetime.strptime(text, "%H:%M").replace(tzinfo=UTC)
    return int(timedelta(hours=moment.hour, minutes=moment.minute).total_seconds())


def _once(text: str) -> int:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
    return int(moment.timestamp())
