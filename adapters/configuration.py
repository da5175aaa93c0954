"""What a venue's process is told by the core, and what it leaves for the next core to read.

Imported by both sides, so it imports little itself. The configuration carries the account's keys: it
crosses the private socket and nothing else.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.codec import Secret
from adapters.registry import VenueConfig
from engine.errors import MessageError

LOSSES: Final = "core_loss"


class Configuration(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Everything that a venue's process is told.

    `cancel_after_s`: how long after the loss of the core it cancels what this instance has resting;
    None: not at all. `is_dedicated`: nobody else trades on the account.
    """

    venue: VenueConfig
    instance: str
    state_dir: str
    core_pid: int
    core_lock: str  # the file that names the process of whichever core runs on the state folder
    seed: int
    log_level: str
    silent_s: float
    market_share: float
    cancel_after_s: float | None
    is_dedicated: bool


def _reveal(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(type(value).__name__)


def _hide(kind: type, value: object) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(kind.__name__)


def encode_configuration(configuration: Configuration) -> bytes:
    """Return the bytes for the process, secrets in the clear."""
    return msgspec.msgpack.encode(configuration, enc_hook=_reveal)


def decode_configuration(data: bytes | msgspec.Raw) -> Configuration:
    """Return what `encode_configuration` wrote. Raises MessageError, without the values."""
    try:
        return msgspec.msgpack.decode(data, type=Configuration, dec_hook=_hide)
    except (msgspec.MsgspecError, ValueError):
        raise MessageError("not a venue's configuration") from None


def write_loss(state_dir: Path, venue: str, told: Mapping[str, Any]) -> None:
    """Keep what a venue's process did after it lost the core, for the next boot to read."""
    folder = state_dir / LOSSES
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{venue}.{told['pid']}"
    path.with_suffix(".tmp").write_bytes(msgspec.json.encode(told))
    path.with_suffix(".tmp").replace(path.with_suffix(".json"))


def read_losses(state_dir: Path) -> list[dict[str, Any]]:
    """Return what processes of lost cores left behind, and remove it: it is told once."""
    found: list[dict[str, Any]] = []
    for path in sorted((state_dir / LOSSES).glob("*.json")):
        with suppress(OSError, msgspec.MsgspecError):
            found.append(msgspec.json.decode(path.read_bytes(), type=dict[str, Any]))
        with suppress(OSError):
            path.unlink()
    return found
