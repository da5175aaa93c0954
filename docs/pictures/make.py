"""Make docs/pictures/session.svg: a real terminal session with a core of its own.

`.venv/bin/python docs/pictures/make.py` starts supervisor.py on a fresh state folder, types the
commands below at it through a pseudo-terminal and draws what they printed. Nothing is edited; run it
again when the output changes.
"""  # noqa: INP001

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COLUMNS = 158
COMMANDS = (
    "xcore status",
    "xcore bbo",
    "xcore order place best BTC/USDT buy 0.01 --market --wait filled",
    "xcore actor kill order_router",
    "xcore order place okx BTC/USDT buy 0.01 @60000",
    "xcore actor tree",
    "xcore journal verify",
)
READY_WITHIN_S = 30.0


def typed(command: str, environment: dict[str, str]) -> str:
    """Run a command on a terminal of COLUMNS columns and return what it showed."""
    program, *words = command.split()
    process, terminal = pty.fork()
    if process == 0:
        os.execve(BIN / program, [program, *words], environment)  # noqa: S606  our own program
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    shown = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # the terminal's other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.waitpid(process, 0)
    return shown.decode().replace("\r\n", "\n")


def wait_until_ready(core: subprocess.Popen[str]) -> None:
    """Read the core's own words until it says that every venue may trade."""
    assert core.stdout is not None
    end = time.monotonic() + READY_WITHIN_S
    for line in core.stdout:
        if line.startswith("ready:"):
            return
        if time.monotonic() > end:
            break
    raise SystemExit("the core did not become ready")


def main() -> None:
    """Record and draw."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "config.yaml"
        shipped = (ROOT / "config.yaml").read_text()
        settings.write_text(shipped.replace("drill: true", "drill: false"))
        environment = {
            **os.environ,
            "XCORE_STATE_DIR": str(Path(folder) / "state"),
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm-256color",
        }
        core = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, str(ROOT / "supervisor.py"), "-c", str(settings)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            wait_until_ready(core)
            time.sleep(3)
            session = "\n".join(f"$ {c}\n{typed(c, environment).rstrip()}\n" for c in COMMANDS)
        finally:
            core.terminate()
            core.wait(20)
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(session))
    picture = console.export_svg(title="xcore: status, an order, a crash, the order after it")
    # The letters come from the reader's own fonts: a picture fetches nothing.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = picture.replace("Fira Code, monospace", "Fira Code, Menlo, Consolas, monospace")
    (ROOT / "docs" / "pictures" / "session.svg").write_text(picture)
    sys.stdout.write(session)


if __name__ == "__main__":
    main()
