"""The gates of testnet and live: each is seen to refuse, and what opens it. No network is used."""

import pytest

from engine.config import load
from engine.control_args import Args
from engine.control_live import GUARDED, confirm
from engine.control_port import Facts
from engine.errors import ConfigError, Refused

KEYS = {"K": "key", "S": "secret", "P": "pass"}
REFERENCES = "{api_key: '${K}', api_secret: '${S}', passphrase: '${P}'}"
OKX = f"{{symbols: [BTC/USDT], credentials: {REFERENCES}}}"
LIVE = "mode: live\nname: desk-1\nlive_confirm: desk-1\n"
TESTNET = "mode: testnet\n"
LOCAL = "urls: {rest: 'http://127.0.0.1:1', public_ws: 'ws://127.0.0.1:1/a', private_ws: 'ws://127.0.0.1:1/b'}"


@pytest.fixture
def written(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def problems(path, environ=KEYS):
    with pytest.raises(ConfigError) as failed:
        load(path, environ=environ)
    assert failed.value.exit_code == 78
    return str(failed.value)


def okx(more):
    return f"venues:\n  okx: {{symbols: [BTC/USDT], {more}}}\n"


@pytest.mark.parametrize("head", [LIVE, TESTNET])
def test_with_every_gate_open_it_loads(written, head):
    config = load(written(f"{head}venues:\n  okx: {OKX}\n"), environ=KEYS)
    assert config.mode in head
    assert config.venues["okx"].credentials.given()["api_secret"] == "secret"


def test_paper_says_that_it_is_not_built(written):
    assert "is not built" in problems(written("mode: paper"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # the instance's name, a second time
        (f"mode: live\nname: desk-1\nvenues:\n  okx: {OKX}\n", "live_confirm"),
        (f"mode: live\nname: desk-1\nlive_confirm: desk-2\nvenues:\n  okx: {OKX}\n", "not 'desk-2'"),
        # credentials, by reference
        (LIVE + okx("depth: 20"), "needs credentials"),
        (TESTNET + okx("depth: 20"), "needs credentials"),
        (LIVE + okx("credentials: {api_key: plain, api_secret: '${S}'}"), "not the api_key itself"),
        (TESTNET + okx("credentials: {api_key: '${K}', api_secret: text}"), "not the api_secret itself"),
        # the conformance suite
        (LIVE + f"venues:\n  b: {{adapter: ccxt, ccxt_id: bitget, trade_unverified: true, "
                f"symbols: [BTC/USDT], credentials: {REFERENCES}}}\n", "trade_uncertified: true opts in"),
        # addresses: testnet never leads to the venue itself, live never to its testnet or elsewhere
        (TESTNET + okx(f"credentials: {REFERENCES}, urls: {{public_ws: 'wss://ws.okx.com:8443/ws'}}"),
         "ws.okx.com is not okx's testnet"),
        (TESTNET + okx(f"credentials: {REFERENCES}, urls: {{rest: 'http://www.okx.com'}}"), "https or wss"),
        (LIVE + okx(f"credentials: {REFERENCES}, urls: {{public_ws: 'wss://wspap.okx.com/ws'}}"),
         "is not where okx trades"),
        (LIVE + okx(f"credentials: {REFERENCES}, urls: {{rest: 'https://okx.com.example.org'}}"),
         "is not where okx trades"),
        (LIVE + okx(f"credentials: {REFERENCES}, urls: "
                    "{rest: 'http://127.0.0.1:1', public_ws: 'wss://ws.okx.com/ws'}"), "all or none"),
        (TESTNET + f"venues:\n  b: {{adapter: ccxt, ccxt_id: bitget, trade_unverified: true, "
                   f"trade_uncertified: true, symbols: [A/B], credentials: {REFERENCES}}}\n",
         "bitget has no testnet"),
        # ccxt's own class would take the keys to the venue itself; no header says that OKX's testnet is meant
        (TESTNET + f"venues:\n  b: {{adapter: ccxt, ccxt_id: okx, trade_uncertified: true, "
                   f"symbols: [A/B], credentials: {REFERENCES}}}\n", "okx has no testnet through ccxt"),
        (TESTNET + f"venues:\n  b: {{adapter: ccxt, ccxt_id: okx, trade_uncertified: true, symbols: [A/B], "
                   f"urls: {{rest: 'https://www.okx.com'}}, credentials: {REFERENCES}}}\n",
         "www.okx.com is not okx's testnet"),
        (TESTNET + f"venues:\n  b: {{adapter: ccxt, ccxt_id: binance, symbols: [A/B], "
                   f"urls: {{rest: 'https://testnet.binance.vision'}}, credentials: {REFERENCES}}}\n",
         "trade_uncertified: true opts in"),
    ],
)  # fmt: skip
def test_a_gate_that_is_shut_says_so_and_what_opens_it(written, text, words):
    assert words in problems(written(text))


def test_all_shut_gates_are_told_at_once(written):
    said = problems(written("mode: live\n" + okx("urls: {rest: 'http://example.org'}")))
    for words in ("live_confirm", "needs credentials", "is not where okx trades"):
        assert words in said


def test_a_live_file_that_others_may_write_is_refused(written):
    text = f"{LIVE}venues:\n  okx: {OKX}\n"
    assert "chmod go-w" in problems(written(text, 0o620))
    assert load(written(text, 0o644), environ=KEYS).mode == "live"


def test_a_server_on_this_machine_may_stand_in_for_a_venue(written):
    for head in (LIVE, TESTNET):
        text = head + okx(f"credentials: {REFERENCES}, {LOCAL}")
        assert load(written(text), environ=KEYS).venues["okx"].urls.given()


def test_a_venue_opted_in_passes_without_a_score(written):
    text = (
        f"{LIVE}venues:\n  b: {{adapter: ccxt, ccxt_id: bitget, trade_unverified: true,\n"
        f"    trade_uncertified: true, symbols: [BTC/USDT], credentials: {REFERENCES}}}\n"
    )
    assert load(written(text), environ=KEYS).mode == "live"


# --- the word for each command of a live core ----------------------------------------------------


def facts(mode="live"):
    return Facts(mode, "desk-1", "0", {"okx": ("BTC/USDT",)})


@pytest.mark.parametrize("op", GUARDED)
def test_a_live_core_wants_its_name_with_what_can_lose_money(op):
    for given in ({}, {"live": "desk-2"}):
        with pytest.raises(Refused) as refused:
            confirm(facts(), op, Args(op, given))
        assert refused.value.code == "UNCONFIRMED"
    args = Args(op, {"live": "desk-1"})
    confirm(facts(), op, args)
    args.end()  # the word is taken off: the command never sees it


def test_what_reduces_risk_or_sends_nothing_needs_no_word():
    for op in ("risk.halt", "order.cancel", "status", "order.reconcile"):
        confirm(facts(), op, Args(op, {}))
    confirm(facts(), "order.place", Args("order.place", {"dry_run": True}))
    confirm(facts("testnet"), "order.place", Args("order.place", {}))
