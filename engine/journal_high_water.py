"""The high-water mark: how far the journal had certainly come, kept outside the database.

SQLite drops a WAL frame whose checksum is wrong, and all after it, without a word; a lost WAL file
is an empty one to it. This file remembers the newest acknowledged (epoch, seq, hash), so that an
open can tell "nothing more was written" from "acknowledged records are gone".

Format: two slots, 4096 bytes apart, written in turn, so that a torn or flipped slot leaves the one
before. A slot is smaller than a sector and carries a counter and a checksum; the valid slot with
the highest counter counts. The bytes between and after the slots mean nothing.
"""

import os
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

import msgspec

from engine.journal_records import GENESIS, HASH_BYTES, JournalCorrupt, Sync
from engine.snapshot import sync_folder, write_durably

FILE_NAME: Final = "high_water"
_MAGIC: Final = b"XCOREHW1"
_CHECK_BYTES: Final = 16
_SLOT_STEP: Final = 4096
_INTS: Final = 3  # counter, epoch, seq
_BOOT_BYTES: Final = 36
_SLOT_BYTES: Final = len(_MAGIC) + 8 * _INTS + HASH_BYTES + 1 + _BOOT_BYTES + _CHECK_BYTES


class Mark(msgspec.Struct, frozen=True):
    """The newest acknowledged record, who wrote it, and under which promise."""

    counter: int
    epoch: int
    seq: int
    hash: bytes
    durable: bool  # written under sync=full: a power loss does not excuse a missing record
    boot_id: bytes


def this_boot() -> bytes:
    """Return what names this boot of the machine; zeros where the system does not tell."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        text = b""
    return text[:_BOOT_BYTES].ljust(_BOOT_BYTES, b"\0")


def read_mark(folder: Path) -> tuple[Mark | None, list[str]]:
    """Return the newest valid mark (None: the file does not exist) and what was odd about it."""
    try:
        data = (folder / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return None, []
    marks = [_decode(data[at : at + _SLOT_BYTES]) for at in (0, _SLOT_STEP)]
    good = [mark for mark in marks if mark is not None]
    if not good:
        raise JournalCorrupt(f"both slots of {FILE_NAME} are damaged")
    notes = [] if len(good) == len(marks) else [f"{FILE_NAME}: one slot is damaged, the other used"]
    return max(good, key=lambda mark: mark.counter), notes


class HighWater:
    """The writer's handle. Not locked: only the thread that appends may call it."""

    def __init__(self, fd: int, counter: int, sync: Sync) -> None:
        self._fd = fd
        self._counter = counter
        self._durable = sync == "full"
        self._boot_id = this_boot()

    @classmethod
    def create(cls, folder: Path) -> None:
        """Write the mark of an empty journal, durably, in both slots."""
        empty = [Mark(n, 0, 0, GENESIS, True, this_boot()) for n in (0, 1)]
        temporary = folder / f"{FILE_NAME}.new"
        write_durably(temporary, _encode(empty[0]).ljust(_SLOT_STEP, b"\0") + _encode(empty[1]))
        temporary.replace(folder / FILE_NAME)
        sync_folder(folder)

    @classmethod
    def open(cls, folder: Path, counter: int, sync: Sync) -> Self:
        """Open an existing file; `counter` is that of the mark just read."""
        return cls(os.open(folder / FILE_NAME, os.O_RDWR | os.O_CLOEXEC), counter, sync)

    def write(self, epoch: int, seq: int, own_hash: bytes) -> None:
        """Write the mark into the older slot. Not synced: see the journal's docstring on lag."""
        self._counter += 1
        mark = Mark(self._counter, epoch, seq, own_hash, self._durable, self._boot_id)
        os.pwrite(self._fd, _encode(mark), (self._counter % 2) * _SLOT_STEP)

    def sync(self) -> None:
        """Make the mark durable."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file without syncing it."""
        os.close(self._fd)


def _encode(mark: Mark) -> bytes:
    ints = b"".join(n.to_bytes(8, "big") for n in (mark.counter, mark.epoch, mark.seq))
    data = _MAGIC + ints + mark.hash + bytes([mark.durable]) + mark.boot_id
    return data + blake2b(data, digest_size=_CHECK_BYTES).digest()


def _decode(slot: bytes) -> Mark | None:
    data, check = slot[:-_CHECK_BYTES], slot[-_CHECK_BYTES:]
    if len(slot) != _SLOT_BYTES or blake2b(data, digest_size=_CHECK_BYTES).digest() != check:
        return None
    if not data.startswith(_MAGIC):
        return None
    at = len(_MAGIC)
    counter, epoch, seq = (
        int.from_bytes(data[at + 8 * i : at + 8 * (i + 1)], "big") for i in range(_INTS)
    )
    at += 8 * _INTS
    own_hash, at = data[at : at + HASH_BYTES], at + HASH_BYTES
    return Mark(counter, epoch, seq, own_hash, data[at] == 1, data[at + 1 :])
