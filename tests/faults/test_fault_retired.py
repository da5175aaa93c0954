"""Venues that have closed, that are not there, and that a person retires: the others trade on."""

from pathlib import Path

import pytest
from core_process import VENUES
from waiting import wait_for

from engine.client import RequestRefused

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def states(core):
    status = core.status()
    is_open = status is not None and status["accounts_opened"]
    return {v["name"]: v["state"] for v in status["venues"]} if is_open else {}


def leaks(core):
    """Return where a secret of this core can be read: its state, its log, its processes' arguments."""
    accounts = core.venues.endpoints["accounts"].values()
    secrets = {a[k] for a in accounts for k in ("api_secret", "passphrase") if a.get(k)}
    pids = [core.process.pid, *(core.venue_pid(name) for name in VENUES)]
    shown = [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ")]
    kept = [path for path in core.folder.rglob("*") if path.is_file() and path != core.config_path]
    assert {".log", ".jsonl"} <= {path.suffix for path in kept}
    return [
        str(path)
        for path in [*shown, *kept]
        if any(secret.encode() in path.read_bytes() for secret in secrets)
    ]


def test_a_venue_that_is_gone_is_told_once_and_a_retired_one_stays_so(core):
    known = core.venues.endpoints
    gone = {"bitmart": {"symbols": ["BTC/USDT"]},
            "nosuch": {"adapter": "ccxt", "ccxt_id": "nosuch", "symbols": ["BTC/USDT"]}}  # fmt: skip
    real = {
        name: {
            "symbols": ["BTC/USDT"],
            "urls": known["venues"][name],
            "credentials": known["accounts"][name],
        }
        for name in VENUES
    }
    core.configure(venues={**real, **gone})
    core.start()
    want = {**dict.fromkeys(VENUES, "READY"), "bitmart": "RETIRED", "nosuch": "DISABLED"}
    wait_for(lambda: states(core) == want, lambda: f"{states(core)} {core.output()[-2000:]}", 40)
    with core.client() as client:
        for venue, code, words in (("bitmart", "venue_retired", "2026-08-26"),
                                   ("nosuch", "venue_not_ready", "no class 'nosuch'")):  # fmt: skip
            with pytest.raises(RequestRefused, match=words) as refused:
                client.place(venue, "BTC/USDT", "buy", "0.001", "50000")
            assert refused.value.code == code
        client.place("okx", "BTC/USDT", "buy", "0.001", "50000")
        receipt = client.request("venue.retire", venue="okx", reason="too slow", timeout_s=30)
        assert receipt["proven"], receipt
        assert not receipt["open_orders"]
        client.place("binance", "BTC/USDT", "buy", "0.001", "50000")
    core.kill()
    core.start()
    want = {**want, "okx": "RETIRED"}
    wait_for(lambda: states(core) == want, lambda: f"{states(core)} {core.output()[-2000:]}", 40)
    with core.client() as client:
        client.resume("all of it")
        with pytest.raises(RequestRefused, match=r"too slow \(by uid") as refused:
            client.place("okx", "BTC/USDT", "buy", "0.001", "50000")
        assert refused.value.code == "venue_retired"
        assert (
            client.request("venue.unretire", venue="okx", reason="faster now")["retired"] is False
        )
        wait_for(lambda: states(core).get("okx") == "READY", "trades again", 20)
        assert client.place("okx", "BTC/USDT", "buy", "0.001", "50000")["status"] == "NEW"
    assert leaks(core) == []
    log = core.output()
    assert "restarting" not in "".join(line for line in log.splitlines() if "bitmart" in line)
