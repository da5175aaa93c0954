"""The simulator as a process: options, the lock, the endpoints file, signals."""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aiohttp import web

from simulator.clock import SystemClock
from simulator.control import Control
from simulator.flow import SharedMid
from simulator.server import HOST, Site, bind, make_site, run_beat
from simulator.traits import TRAITS
from simulator.venue import Venue, start_prices

VENUES = tuple(TRAITS)
DEFAULT_VENUES = ("binance", "okx")
EXIT_TAKEN, EXIT_USAGE = 75, 2


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    folder: Path
    seed: int
    venues: tuple[str, ...]
    ports: dict[str, int]
    is_flowing: bool
    parent_pid: int | None


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    options = _parse(argv)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        print(f"simulator: cannot use {options.folder}: {problem}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    lock = _lock(options.folder)
    if lock is None:
        print(f"simulator: another one is running on {options.folder}", file=sys.stderr)  # noqa: T201
        return EXIT_TAKEN
    with lock:
        asyncio.run(_run(options))
    return 0


async def _run(options: Options) -> None:
    clock = SystemClock()
    mid = SharedMid(options.seed, start_prices(options.folder, list(options.venues)))
    previous = _previous_ports(options.folder)
    sites: dict[str, Site] = {}
    for name in options.venues:
        venue = Venue(name, options.folder, clock, options.seed, mid)
        sites[name] = make_site(venue, options.ports[name] or previous.get(name, 0))
        if options.is_flowing:
            venue.flow.fill_books()
            venue.settle(None)
        sites[name].is_flowing = options.is_flowing
        await sites[name].start()
    control_port = options.ports["ctl"] or previous.get("ctl", 0)
    runner, control_port = await _start_control(Control(sites), control_port)
    _announce(options, sites, control_port, clock.wall_ns())
    _say_where(options, sites, control_port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    beat = loop.create_task(run_beat(list(sites.values()), clock))
    watch = loop.create_task(_watch_parent(options.parent_pid, stop))
    ended = loop.create_task(stop.wait())
    # A broken invariant ends the beat; then the process must end too, loudly.
    await asyncio.wait({beat, ended}, return_when=asyncio.FIRST_COMPLETED)
    watch.cancel()
    for site in sites.values():
        await site.stop()
    await runner.cleanup()
    if beat.done():
        beat.result()
    beat.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beat


async def _start_control(control: Control, port: int) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.add_routes(control.routes())
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    listening = bind(port)
    await web.SockSite(runner, listening).start()
    return runner, int(listening.getsockname()[1])


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def _watch_parent(pid: int | None, stop: asyncio.Event) -> None:
    while pid is not None:
        if not _is_alive(pid):
            stop.set()
            return
        await asyncio.sleep(0.5)


def _announce(options: Options, sites: dict[str, Site], control_port: int, now_ns: int) -> None:
    venues: dict[str, Any] = {}
    accounts: dict[str, Any] = {}
    for name, site in sites.items():
        traits = TRAITS[name]
        links = zip(("public_ws", "private_ws", "trade_ws"), traits.ws_paths, strict=True)
        venues[name] = {
            "rest": f"http://{HOST}:{site.port}",
            **{link: f"ws://{HOST}:{site.port}{path}" for link, path in links if path is not None},
        }
        if traits.other_paths is not None:
            dialect, *others = traits.other_paths
            for link, other in zip(("public_ws", "private_ws"), others, strict=True):
                venues[name][f"{link}@{dialect}"] = f"ws://{HOST}:{site.port}{other}"
        account = next(iter(site.venue.accounts.values()))
        accounts[name] = {"api_key": account.api_key, "api_secret": account.api_secret}
        if traits.has_passphrase:
            accounts[name]["passphrase"] = account.passphrase
    content = {
        "pid": os.getpid(),
        "seed": options.seed,
        "started_ns": now_ns,
        "ctl": f"http://{HOST}:{control_port}",
        "venues": venues,
        "accounts": accounts,
    }
    path = options.folder / "endpoints.json"
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as out:
        json.dump(content, out, indent=2)
    temporary.replace(path)


# The reader may have gone already; the simulator runs on without it.
def _say_where(options: Options, sites: dict[str, Site], control_port: int) -> None:
    venues = [f"{name} http://{HOST}:{site.port}" for name, site in sites.items()]
    where = ", ".join([*venues, f"control http://{HOST}:{control_port}"])
    with contextlib.suppress(OSError):
        print(f"simulator: {where}; all in {options.folder / 'endpoints.json'}", flush=True)  # noqa: T201


def _previous_ports(folder: Path) -> dict[str, int]:
    # Clients reconnect to where the simulator was; if it cannot be there, the file tells them.
    try:
        content = json.loads((folder / "endpoints.json").read_text())
        urls = {name: venue["rest"] for name, venue in content["venues"].items()}
        urls["ctl"] = content["ctl"]
        return {name: int(url.rpartition(":")[2]) for name, url in urls.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _lock(folder: Path) -> IO[str] | None:
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _parse(argv: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--state-dir", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--venues", default=",".join(DEFAULT_VENUES))
    for name in VENUES:
        parser.add_argument(f"--port-{name}", type=int, default=0)
    parser.add_argument("--ctl-port", type=int, default=0)
    parser.add_argument("--flow", choices=("on", "off"), default="on")
    parser.add_argument("--parent-pid", type=int, default=None)
    args = parser.parse_args(argv)
    venues = tuple(args.venues.split(","))
    unknown = [name for name in venues if name not in VENUES]
    if unknown or len(set(venues)) != len(venues):
        parser.error(f"--venues takes {', '.join(VENUES)}, not {args.venues}")
    ports = {name: getattr(args, f"port_{name}") for name in VENUES} | {"ctl": args.ctl_port}
    if not all(0 <= port < 65536 for port in ports.values()):
        parser.error("a port is between 0 and 65535")
    return Options(
        args.state_dir / "sim", args.seed, venues, ports, args.flow == "on", args.parent_pid
    )
