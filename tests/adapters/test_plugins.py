"""Venues that others write: found or refused with the reason; the documented example is proven."""

import random
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from rig import CLOCK

from adapters import plugins
from adapters.adapter import VenueAdapter
from adapters.codec import Acked, Denied, Problem
from adapters.registry import Adapter, VenueConfig, dialect, exchange_id, known_adapter
from adapters.replay import replay
from docs.examples.bitget_venue import VENUE, BitgetCodec
from engine.config import load
from engine.errors import ConfigError
from engine.messages.market import TradePrint

ROOT = Path(__file__).resolve().parents[2]
NAME = "docs.examples.bitget_venue:VENUE"
RECORDED = ROOT.parent / "shared/data/streams/cryptofeed/other/bitget"
SYMBOLS = {"BTCUSDT": "BTC/USDT"}


def test_the_documented_venue_replays_its_recording_without_a_gap():
    files = sorted(RECORDED.glob("*.gz"))
    if not files:
        pytest.skip(f"no recordings in {RECORDED}")
    report = replay(NAME, files)
    assert (report.books, report.diffs) == (10, 460)
    assert (report.gaps, report.crossed, report.locked, report.malformed) == (0, 0, 0, 0)
    assert (report.checksum_ok, report.checksum_bad) == (460, 0)
    assert report.verification == "checksum_top25"


def test_a_venue_of_ones_own_is_named_in_the_configuration(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        'venues: {bitget: {adapter: "' + NAME + '", symbols: [BTC/USDT],'
        " urls: {rest: 'http://127.0.0.1:9', public_ws: 'ws://127.0.0.1:9'}}}\n"
    )
    venue = load(path, environ={}).venues["bitget"]
    config = VenueConfig("bitget", venue.dialect, venue.account, tuple(venue.symbols))
    assert isinstance(dialect(config).codec, BitgetCodec)
    assert exchange_id(NAME) == "bitget"
    assert config.url("public_ws") == "wss://ws.bitget.com/v2/ws/public"
    adapter = VenueAdapter(
        config, clock=CLOCK, rng=random.Random(1), deliver=lambda _: None, threads=None
    )
    assert "read only" in adapter._read_only


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no.such.module:VENUE", "cannot be imported: ModuleNotFoundError"),
        ("docs.examples.bitget_venue:NONE", "has no NONE"),
        ("docs.examples.bitget_venue:SIDES", "is a dict, and should be"),
    ],
)
def test_what_is_no_adapter_is_refused_with_the_reason(name, words):
    with pytest.raises(ConfigError, match=words):
        known_adapter(name)


def test_a_package_offers_a_venue_by_its_entry_point(monkeypatch):
    offered = [
        EntryPoint("bitget", NAME, "xcore.venues"),
        EntryPoint("broken", "no.such:THING", "xcore.venues"),
    ]
    monkeypatch.setattr(
        plugins, "entry_points", lambda group, name: [e for e in offered if e.name == name]
    )
    assert plugins.plugged_in("bitget", Adapter) is VENUE
    with pytest.raises(ConfigError, match=r"broken: no\.such:THING cannot be loaded"):
        plugins.plugged_in("broken", Adapter)
    assert plugins.plugged_in("unheard_of", Adapter) is None


def test_the_documented_codec_reads_what_is_not_a_book():
    codec = BitgetCodec("bitget", "bitget.main", SYMBOLS)
    trade = (
        b'{"action":"update","arg":{"instType":"SPOT","channel":"trade","instId":"BTCUSDT"},"data":'
        b'[{"ts":"1695709835822","price":"26293.4","size":"0.0013","side":"buy","tradeId":"1"}]}'
    )
    (event,) = codec.on_public(trade, 1)
    assert isinstance(event, TradePrint)
    assert (event.symbol, event.side, str(event.price)) == ("BTC/USDT", "BUY", "26293.4")
    assert codec.on_private(b'{"event":"login","code":0}', 1) == [Acked("login")]
    refused = b'{"event":"error","code":30005,"msg":"error"}'
    assert codec.on_private(refused, 1) == [Denied("30005", "error")]
    for raw in (b"", b"{", b"[]", b'{"arg":{}}', trade.replace(b"26293.4", b"x")):
        assert isinstance(codec.on_public(raw, 1)[0], Problem)
