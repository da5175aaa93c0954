"""Recorded frames as others wrote them down, line by line, and single messages of fixture files.

Recordings: cryptofeed's text lines, hftbacktest's `recv_ns json` lines and plain JSON lines, each
also as .gz. Fixtures: a JSON message, a list of them (also inside `messages` or `frame`), JSON
lines, or a dialogue of `>` sent, `<` answered and `=` pushed frames. Nothing here knows a venue.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from engine.errors import MessageError


class Frame(NamedTuple):
    """One line of a recording: when it came, from which file, what; `url` for an HTTP answer."""

    recv_ns: int
    order: int
    raw: bytes
    url: str


class _Item(msgspec.Struct):
    messages: list[msgspec.Raw] = []
    frame: msgspec.Raw = msgspec.Raw()


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_item = msgspec.json.Decoder(_Item).decode


def frames(venue_file: Path | str) -> Iterator[tuple[int, bytes]]:
    """Yield `(recv_ns, frame)` of one recording, as a benchmark wants them."""
    for frame in recorded(Path(venue_file), 0):
        if not frame.url:
            yield frame.recv_ns, frame.raw


def recorded(path: Path, order: int) -> Iterator[Frame]:
    """Yield the frames of one recording; MessageError names the line that is none."""
    recv_ns = 0
    for number, line in _lines(path):
        try:
            frame = _parse(line.rstrip(b"\r\n"), order, recv_ns)
        except ValueError as error:
            raise MessageError(f"{path.name} line {number}: {error}") from error
        if frame is not None:
            recv_ns = frame.recv_ns
            yield frame


def messages(path: Path) -> list[bytes]:
    """Return the messages of one fixture file; MessageError if there are none."""
    lines = [line for _, line in _lines(path)]
    found = _dialogue(lines) or _document(b"".join(lines))
    if not found:
        found = [frame.raw for frame in recorded(path, 0) if not frame.url]
    if not found:
        raise MessageError(f"{path.name} has no message")
    return found


# `> {"id":"|1|",..}` sent, `< {"id":"|1|","type":"ack"}` answered, `=` and what follows pushed. The
# marks between bars stand for what the client chose.
def _dialogue(lines: list[bytes]) -> list[bytes]:
    if not lines or not lines[0].startswith(b">"):
        return []
    parts: list[bytes] = []
    is_ours = True
    for line in lines:
        if line[:1] in (b">", b"<", b"="):
            is_ours = line.startswith(b">")
            if not is_ours:
                parts.append(b"")
        if not is_ours:
            parts[-1] += re.sub(rb"^[<=]\d*", b"", line)
    whole = (re.sub(rb"\|(\w+|\*)\|", b"1", part) for part in parts)
    return [re.sub(rb"\s*\n\s*", b"", part).strip() for part in whole if part.strip()]


# A list of messages, also as [{"messages":[..]}] or [{"frame":..}]; none where it is no such thing.
def _document(text: bytes) -> list[bytes]:
    try:
        items = [_decode_item(raw) for raw in _decode_list(text)]
    except (msgspec.DecodeError, RecursionError):
        return [text.strip()] if _is_json(text) else []
    found: list[msgspec.Raw] = []
    for raw, item in zip(_decode_list(text), items, strict=True):
        found += item.messages or [item.frame if bytes(item.frame) else raw]
    return [_unquoted(bytes(raw)) for raw in found]


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


# Some lists hold their frames as texts.
def _unquoted(raw: bytes) -> bytes:
    return msgspec.json.decode(raw, type=str).encode() if raw.startswith(b'"') else raw


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, 1):
                yield number, line
    except EOFError:
        text = f"{path.name} is cut off: the compressed data ends behind line {number}"
        raise MessageError(text) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise MessageError(f"{path.name} is no whole gzip file: {error}") from None
    except OSError as error:
        raise MessageError(f"{path.name} cannot be read: {error.strerror or error}") from None


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    return path.open("rb")


# One line of any of the three formats; None for what is no received frame.
def _parse(line: bytes, order: int, recv_ns: int) -> Frame | None:
    if not line or line.startswith((b"configuration:", b"#")):
        return None
    if line.startswith((b"{", b"[")):
        return Frame(recv_ns, order, line, "")
    head, _, rest = line.partition(b" ")
    if head.isdigit():
        return Frame(int(head), order, rest, "")
    if head.endswith(b":") and head[:-1].replace(b".", b"", 1).isdigit():
        return Frame(_seconds(head[:-1]), order, rest, "")
    arrow, _, tail = rest.partition(b" ")
    if arrow == b"->":
        at, _, body = tail.partition(b": ")
        return Frame(_seconds(at), order, body, head.decode())
    if arrow in (b"<-", b"<->"):
        return None
    raise ValueError(f"not a recorded frame: {line[:80]!r}")


def _seconds(text: bytes) -> int:
    whole, _, fraction = text.partition(b".")
    return int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0") or 0)
