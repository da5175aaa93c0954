"""Write the golden journal of the present schema version. Run once a version, then never again.

PYTHONPATH=.:tests/journal python tests/journal/golden/make.py tests/journal/golden/v1
"""

import hashlib
import sys
from pathlib import Path

from journal_factory import filled, fold, new_record, open_journal, plain

folder = Path(sys.argv[1])
filled(folder, 25).close()
with open_journal(folder) as journal:
    journal.append([new_record(n) for n in range(26, 41)])
    for seq in (20, 30):
        state = fold({}, journal.read(0, seq))
        journal.save_snapshot("toy", seq, repr(sorted(state.items())).encode())
    records = [plain(record) for record in journal.read()]
    digest = hashlib.sha256(repr(records).encode()).hexdigest()
    sys.stdout.write(f"{digest} {journal.head_hash.hex()}\n")
for name in ("journal.lock", "journal.db-wal", "journal.db-shm"):
    (folder / name).unlink(missing_ok=True)
