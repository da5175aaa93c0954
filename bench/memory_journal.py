"""A journal in memory with the interface of engine.journal.Journal: the same answers, no disk."""

from collections.abc import Collection, Iterator, Sequence

from engine.journal import GENESIS, AppendResult, Identity, NewRecord, Record, Snapshot
from engine.telemetry import COMMIT_US, Histogram


class MemoryJournal:
    """Keeps both promises of identity: a record_id once for ever, a unique_key in one record."""

    def __init__(self) -> None:
        self.epoch = 1
        self.identity = Identity("demo", "bench", {})
        self.unchecked_upto = 0
        self.notices: list[str] = []
        self.commit_times = Histogram(COMMIT_US)
        self._records: list[Record] = []
        self._by_id: dict[str, int] = {}
        self._by_key: dict[str, int] = {}
        self._snapshots: dict[str, Snapshot] = {}

    @property
    def head_seq(self) -> int:
        """Return the seq of the newest record."""
        return len(self._records)

    def append(self, records: Sequence[NewRecord]) -> list[AppendResult]:
        """Append what is new; say of each record what became of it."""
        return [self._append(record) for record in records]

    def _append(self, new: NewRecord) -> AppendResult:
        seq = self._by_id.get(new.record_id)
        if seq is not None:
            return AppendResult(seq, "repeated")
        if new.unique_key is not None:
            seq = self._by_key.get(new.unique_key)
            if seq is not None:
                return AppendResult(seq, "duplicate")
        seq = len(self._records) + 1
        self._records.append(
            Record(
                new.record_id, new.unique_key, new.kind, new.origin, new.cause_id,
                new.correlation_id, new.body, new.ts_wall_ns, new.ts_mono_ns, seq, self.epoch,
                GENESIS, GENESIS,
            )
        )  # fmt: skip
        self._by_id[new.record_id] = seq
        if new.unique_key is not None:
            self._by_key[new.unique_key] = seq
        return AppendResult(seq, "appended")

    def read(
        self, after_seq: int = 0, upto_seq: int | None = None, kinds: Collection[str] | None = None
    ) -> Iterator[Record]:
        """Yield the records after `after_seq`."""
        upto = self.head_seq if upto_seq is None else upto_seq
        return (r for r in self._records[after_seq:upto] if kinds is None or r.kind in kinds)

    def find(self, unique_key: str) -> Record | None:
        """Return the record that carries a key."""
        seq = self._by_key.get(unique_key)
        return None if seq is None else self._records[seq - 1]

    def keyed(self, prefix: str) -> list[Record]:
        """Return the records whose unique_key begins with `prefix`, in order."""
        return [r for r in self._records if (r.unique_key or "").startswith(prefix)]

    def save_snapshot(self, owner: str, seq: int, state: bytes) -> None:
        """Keep an owner's newest state."""
        self._snapshots[owner] = Snapshot(owner, seq, state)

    def load_snapshot(self, owner: str, upto_seq: int | None = None) -> Snapshot | None:
        """Return an owner's newest state, unless it is newer than `upto_seq`."""
        held = self._snapshots.get(owner)
        return held if held is None or upto_seq is None or held.seq <= upto_seq else None

    def release_reserve(self) -> int:
        """Return 0: memory has no reserve."""
        return 0
