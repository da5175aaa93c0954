"""The background check of a journal that was opened by its snapshot: all of it, beside the core.

It runs in a process of its own, at the lowest priority, so that neither the interpreter's lock nor
the processor is taken from the tick path, and it only reads. It ends with the core that began it.
Promises NOT: to repair, or to decide what a bad outcome means (supervisor.py does).
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from engine.errors import EXIT_JOURNAL
from engine.journal import Journal, VerifyReport, verify_folder
from engine.threads import DaemonThreads

ATTEMPTS: Final = 2
NICENESS: Final = 19
ROOT: Final = Path(__file__).resolve().parent.parent


def audit(folder: Path) -> VerifyReport:
    """Check the journal of `folder` in a process of its own; blocks until it has ended.

    A process that died without an answer is tried once more; then the outcome is a bad one, since
    a journal that cannot be checked cannot be trusted either.
    """
    problem = ""
    for _ in range(ATTEMPTS):
        # The pipe to its stdin is how it learns that we are gone.
        with subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-m", "engine.journal_audit", str(folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None, "stdout is a pipe"
            answer = process.stdout.read()
        try:
            return msgspec.json.decode(answer, type=VerifyReport)
        except msgspec.MsgspecError:
            problem = f"the check ended with {process.returncode} and no answer"
    return VerifyReport(False, 0, 0, None, problem)


def watch_over(journal: Journal, give_up: Callable[[str, int], None]) -> None:
    """Check what the open left unchecked; a bad outcome is noted and `give_up` told. Blocks."""
    report = audit(journal.folder)
    try:
        journal.settle_check(report)
    finally:
        if not report.ok:
            give_up(f"the journal is not what was written: {report.problem}", EXIT_JOURNAL)


def _end_with_the_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def main(folder: Path) -> None:
    """Be the checking process: write the report to stdout."""
    os.nice(NICENESS)
    DaemonThreads().start("parent", _end_with_the_parent)
    sys.stdout.buffer.write(msgspec.json.encode(verify_folder(folder)))
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # the thread that waits for our parent holds stdin
