"""The CLI's commands for whoever runs the core: actors, journal, faults, configuration."""

import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine.cli_base import ask, group, options, show, usage
from engine.client import Client, find_state_dir
from engine.errors import EXIT_FAILED, EXIT_NOT_FOUND, ConfigError, Unreachable
from engine.views import Screen

FOLLOW_PAUSE_S: Final = 0.3
PAGE: Final = 1_000
VERIFY_FIELDS: Final = ("ok", "records", "head_seq", "first_bad_seq", "problem")

actor_app = group("The actors and their supervisor.")
journal_app = group("The journal.")
fault_app = group("Faults of the simulated venues (demo mode).")
config_app = group("The configuration; needs no running core.")


# --- actors ---------------------------------------------------------------------------------------


@actor_app.command("tree")
def actor_tree(context: typer.Context) -> None:
    """Show every actor with its state, restarts and mailbox."""
    show(context, ask(context, "actor.tree"), "actor")


@actor_app.command("kill")
def actor_kill(context: typer.Context, name: str) -> None:
    """Crash an actor as a drill; its supervisor brings it back."""
    show(context, ask(context, "actor.kill", name=name))


@actor_app.command("restart")
def actor_restart(context: typer.Context, name: str) -> None:
    """Stop an actor and start it again from its snapshot and the journal."""
    show(context, ask(context, "actor.restart", name=name))


@actor_app.command("parked")
def actor_parked(
    context: typer.Context, actor: Annotated[str | None, typer.Argument()] = None
) -> None:
    """List the messages that crashed their actor too often and were set aside."""
    rows = ask(context, "actor.parked", actor=actor)
    if options(context).screen.is_table:
        rows = [{**row, "when": _clock_time(row["ts_ns"])} for row in rows]
    show(context, rows, "parked")


@actor_app.command("retry")
def actor_retry(context: typer.Context, message_id: Annotated[str, typer.Argument()]) -> None:
    """Give a parked message back to its actor, once what made it crash is mended."""
    show(context, ask(context, "actor.retry", message_id=message_id))


@actor_app.command("discard")
def actor_discard(
    context: typer.Context,
    message_id: Annotated[str, typer.Argument()],
    reason: Annotated[str, typer.Option(help="Why it may be forgotten; journaled.")],
) -> None:
    """Forget a parked message for good."""
    show(context, ask(context, "actor.discard", message_id=message_id, reason=reason))


def _clock_time(ts_ns: int) -> str:
    stamp = datetime.fromtimestamp(ts_ns / 1e9, tz=UTC)
    return stamp.strftime("%Y-%m-%d %H:%M:%SZ")


# --- journal --------------------------------------------------------------------------------------


@journal_app.command("tail")
def journal_tail(
    context: typer.Context,
    count: Annotated[int, typer.Option("-n", "--count", help="How many records.")] = 20,
    after_seq: Annotated[int | None, typer.Option(help="Those after this seq instead.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="And those to come.")] = False,
) -> None:
    """Show the newest records."""
    with Client(options(context).state_dir) as client:
        records = _tail(client, count, after_seq)
        _show_records(context, records)
        seq = records[-1]["seq"] if records else after_seq or 0
        while follow:
            time.sleep(FOLLOW_PAUSE_S)
            records = client.request("journal.tail", count=PAGE, after_seq=seq)
            if records:
                _show_records(context, records)
                seq = records[-1]["seq"]


# Page by page, as the core answers at most so many at once.
def _tail(client: Client, count: int, after_seq: int | None) -> list[dict[str, Any]]:
    if count <= PAGE:
        return list(client.request("journal.tail", count=count, after_seq=after_seq))
    if after_seq is None:
        newest = client.request("journal.tail", count=1)
        after_seq = max(0, newest[-1]["seq"] - count) if newest else 0
    records: list[dict[str, Any]] = []
    while len(records) < count:
        page = client.request(
            "journal.tail", count=min(PAGE, count - len(records)), after_seq=after_seq
        )
        if not page:
            break
        records += page
        after_seq = page[-1]["seq"]
    return records


# For people one line a record: what it is, and its fields as words.
def _show_records(context: typer.Context, records: list[dict[str, Any]]) -> None:
    if options(context).screen.is_table:
        records = [
            {
                "seq": record["seq"],
                "kind": record["kind"],
                "fields": " ".join(
                    f"{k}={v}"
                    for k, v in _fields(record).items()
                    if k not in ("seq", "kind", "schema")
                ),
            }
            for record in records
        ]
    show(context, records)


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    order = record.get("order")
    rest = {k: v for k, v in record.items() if k not in ("order", "envelope")}
    return {**(order if isinstance(order, dict) else {}), **rest}


@journal_app.command("show")
def journal_show(context: typer.Context, seq: Annotated[str, typer.Argument()]) -> None:
    """Show one record whole."""
    if not seq.isdecimal() or not int(seq):
        raise usage(f"{seq} is no seq: a whole number from 1")
    found = ask(context, "journal.tail", count=1, after_seq=int(seq) - 1)
    if not found or found[0]["seq"] != int(seq):
        sys.stderr.write(f"xcore: the journal has no record {seq}\n")
        raise typer.Exit(EXIT_NOT_FOUND)
    show(context, found[0])


@journal_app.command("export")
def journal_export(
    context: typer.Context,
    after_seq: Annotated[int, typer.Option(help="Those after this seq only.")] = 0,
) -> None:
    """Write every record as a line of JSON, oldest first, to stdout."""
    screen = Screen("jsonl")
    with Client(options(context).state_dir) as client:
        while records := client.request("journal.tail", count=PAGE, after_seq=after_seq):
            screen.show(records)
            after_seq = records[-1]["seq"]


@journal_app.command("verify")
def journal_verify(context: typer.Context) -> None:
    """Check every record, the hash chain and the high-water mark; works without a running core."""
    folder = find_state_dir(options(context).state_dir)
    try:
        report = ask(context, "journal.verify")
    except Unreachable:
        report = _verify(folder)
    show(context, report)
    if not report["ok"]:
        raise typer.Exit(EXIT_FAILED)


def _verify(folder: Path) -> Mapping[str, Any]:
    if not folder.is_dir():
        raise usage(f"there is no state folder {folder}")
    journal = folder / "journal"
    if not journal.is_dir():
        raise usage(f"there is no journal in {folder}; no core has run on it")
    report: Any = import_module("engine.journal").verify_folder(journal)
    return {"schema": 1, **{name: getattr(report, name) for name in VERIFY_FIELDS}}


# --- faults ---------------------------------------------------------------------------------------


@fault_app.command("list")
def fault_list(context: typer.Context) -> None:
    """List the kinds of faults, and those that are waiting to happen."""
    show(context, ask(context, "fault.list"), "fault")


@fault_app.command("inject")
def fault_inject(
    context: typer.Context,
    kind: str,
    venue: Annotated[str, typer.Option(help="At which venue.")],
    on: Annotated[
        str | None, typer.Option(help="One of the kind's targets; else its first.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="How many times; else as the kind is: mostly once.")
    ] = None,
) -> None:
    """Make a simulated venue misbehave."""
    show(context, ask(context, "fault.inject", kind=kind, venue=venue, on=on, count=count))


@fault_app.command("clear")
def fault_clear(context: typer.Context) -> None:
    """Take back every fault that has not happened yet."""
    show(context, ask(context, "fault.clear"))


# --- configuration --------------------------------------------------------------------------------


@config_app.command("check")
def config_check(
    context: typer.Context, file: Annotated[Path | None, typer.Argument()] = None
) -> None:
    """Check a configuration: every problem at once, each with its line."""
    found = _load(context, file)
    doubts = import_module("engine.confusable").warnings(found)
    for doubt in doubts:
        sys.stderr.write(f"warning: {doubt}\n")
    show(
        context,
        {
            "schema": 1,
            "ok": True,
            "file": None if found.source is None else str(found.source),
            "mode": found.mode,
            "name": found.name,
            "venues": list(found.venues),
            "state_dir": str(found.state_dir),
            "warnings": doubts,
        },
    )


@config_app.command("show")
def config_show(
    context: typer.Context, file: Annotated[Path | None, typer.Argument()] = None
) -> None:
    """Show every effective value and where it comes from; secrets stay hidden."""
    found = _load(context, file)
    settings = found.settings()
    if not options(context).screen.is_table:
        show(context, settings)
        return
    rows = [
        {"key": key, "value": value, "from": found.origins.get(key, "default")}
        for key, value in _flat(settings)
    ]
    show(context, rows)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of config.yaml, for editors."""
    from engine import config  # noqa: PLC0415  pydantic only where it is needed

    Screen("json").show(config.json_schema())


def _load(context: typer.Context, file: Path | None) -> Any:
    from engine import config  # noqa: PLC0415  pydantic only where it is needed

    if file is not None and file.is_dir():
        raise ConfigError(f"{file} is a folder, not a configuration file")
    path = config.default_path() if file is None else file
    return config.load(path, state_dir=options(context).state_dir)


def _flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [
            row
            for key, part in value.items()
            for row in _flat(part, f"{path}.{key}" if path else key)
        ]
    return [(path, value)]
