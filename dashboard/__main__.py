"""`python -m dashboard`: serve the page beside a running core, or (--child) as the core's own process.

As a child it reads its settings, the token among them, from standard input, says where it listens in
one line of JSON, and ends at the word `stop`. When the core is killed instead, it stays as long as an
open page or a scrape needs to be told, ten minutes at most.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from dashboard.feed import Feed
from dashboard.guard import Guard
from dashboard.logtail import LogTail
from dashboard.probes import Probes
from dashboard.server import Server, Settings
from engine.page_session import forget_session, write_session

NICENESS: Final = 10  # the page gives way to trading
LINGER_S: Final = 600.0
SCRAPED_S: Final = 90.0
LOOK_EVERY_S: Final = 0.5
NEEDED_S: Final = 3.0  # a page that lost its connection may be coming back

Options = dict[str, Any]


class Process:
    """One run: listeners, the feed, and the reasons to end."""

    def __init__(self, state_dir: Path, options: Options) -> None:
        self.state_dir = state_dir
        self.options = options
        guard = Guard(options["token"], options["host"], tuple(options["allowed_hosts"]))
        commands = options["allow_commands"] and (guard.is_loopback or options["own_token"])
        self.feed = Feed(state_dir)
        self.log = LogTail(Path(options["log"]) if options["log"] else None)
        self.server = Server(Settings(state_dir, guard, commands), self.feed, self.log)
        self.probes = Probes(state_dir, Guard("", options["metrics_host"]))
        self.stopping = asyncio.Event()
        self.notes: list[str] = []
        self.url = ""

    async def run(self, *, is_child: bool) -> None:
        """Serve until told to stop."""
        port, runners = 0, []
        if self.options["dashboard"]:
            runner, port = await _listen(
                self.server.application(), self.options["host"], self.options["port"]
            )
            runners.append(runner)
        if self.options["metrics"]:
            runners += await self._serve_metrics()
        url = f"http://{_shown(self.options['host'])}:{port}/?token={self.options['token']}"
        self.url = url if port else ""
        self._say(port, self.url, is_child=is_child)
        work = [asyncio.create_task(self.feed.run())] if port else []
        if port:
            work.append(asyncio.create_task(self.log.run(self.server.log_changed)))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        if is_child:
            work.append(asyncio.create_task(self._follow_parent()))
        await self.stopping.wait()
        if is_child:
            forget_session(self.state_dir)
        await self.server.close()
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        for runner in runners:
            await runner.cleanup()

    async def _serve_metrics(self) -> list[web.AppRunner]:
        host, port = self.options["metrics_host"], self.options["metrics_port"]
        try:
            runner, got = await _listen(self.probes.application(), host, port, other=False)
        except OSError as error:
            self.notes.append(f"no metrics: {host}:{port}: {error.strerror}")
            return []
        self.notes.append(f"metrics  http://{_shown(host)}:{got}/metrics")
        self.options["metrics_port"] = got
        return [runner]

    # The file is how `xcore dashboard --url` and the next core find this process.
    def _say(self, port: int, url: str, *, is_child: bool) -> None:
        if not is_child:
            sys.stdout.write("\n".join([f"page     {url}", *self.notes, "stop     Ctrl-C", ""]))
            sys.stdout.flush()
            return
        ports = {"port": port, "metrics_port": self.options["metrics_port"]}
        session = {"pid": os.getpid(), **ports, "token": self.options["token"], "url": url}
        write_session(self.state_dir, session)
        sys.stdout.write(json.dumps({"listening": True, **ports, "url": url, "notes": self.notes}))
        sys.stdout.write("\n")
        sys.stdout.flush()

    async def _follow_parent(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        if await reader.readline() != b"stop\n":
            await self._linger()
        self.stopping.set()

    # The core is gone without a word, and so is the other end of our output.
    async def _linger(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        began = needed = time.monotonic()
        while (now := time.monotonic()) - began < LINGER_S:
            scraped = asyncio.get_running_loop().time() - self.probes.scraped_at < SCRAPED_S
            if self.server.open_pages or scraped:
                needed = now
            elif now - needed >= NEEDED_S:
                return
            await asyncio.sleep(LOOK_EVERY_S)


async def _listen(
    application: web.Application, host: str, port: int, *, other: bool = True
) -> tuple[web.AppRunner, int]:
    """Listen; on a free port instead where the wanted one is taken and `other` allows it."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        if not other:
            await runner.cleanup()
            raise
        await web.TCPSite(runner, host, 0).start()
    return runner, int(runner.addresses[0][1])


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dashboard", description="Serve the page of a core.")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--read-only", action="store_true")
    return parser.parse_args(argv)


# Byte by byte: what follows the line is for the event loop to read.
def _first_line() -> bytes:
    line = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line


def main(argv: Sequence[str]) -> int:
    """Run until told to stop."""
    given = _arguments(argv)
    os.nice(NICENESS)
    if given.child:
        options: Options = json.loads(_first_line())
    else:
        options = {
            "dashboard": True, "host": given.host, "port": given.port,
            "token": secrets.token_urlsafe(24), "own_token": False,
            "allow_commands": not given.read_only, "allowed_hosts": [],
            "metrics": False, "metrics_host": "127.0.0.1", "metrics_port": 0,
            "log": str(given.state_dir / "log" / "xcore.jsonl"),
        }  # fmt: skip

    async def run() -> None:
        await Process(given.state_dir, options).run(is_child=given.child)

    with suppress(KeyboardInterrupt):
        asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
