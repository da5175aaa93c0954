import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from engine.config import config_hash, default_path, load
from engine.config_models import Settings
from engine.confusable import warnings
from engine.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return path

    return write


def problems(path, **more):
    with pytest.raises(ConfigError) as failed:
        load(path, environ=more.pop("environ", {}), **more)
    return str(failed.value)


def test_without_a_file_it_is_demo_on_four_venues():
    config = load(None, environ={})
    assert config.mode == "demo"
    assert {n: v.symbols for n, v in config.venues.items()} == {
        "binance": ["BTC/USDT", "ETH/USDT"],
        "okx": ["BTC/USDT", "ETH/USDT"],
        "kucoin": ["BTC/USDT", "ETH/USDT"],
        "deriv": ["BTC/USD", "cryBTCUSD.MULTUP.100/USD", "cryBTCUSD.MULTDOWN.100/USD"],
    }
    assert config.venues["okx"].account == "okx.main"


def test_the_shipped_file_says_what_the_defaults_are():
    shipped = load(ROOT / "config.yaml", environ={})
    assert shipped.risk.declared_rates == {"USD": 1}, "by whoever writes a file, by nobody else"
    bare = shipped.risk.model_copy(update={"declared_rates": {}})
    shipped = shipped.model_copy(update={"risk": bare})
    assert config_hash(shipped) == config_hash(load(None, environ={}))
    assert default_path() is not None


def test_an_empty_file_is_the_defaults(written):
    assert config_hash(load(written(""), environ={})) == config_hash(load(None, environ={}))


def test_every_problem_is_told_at_once_with_its_place(written):
    text = problems(
        written(
            "mode: dmo\n"
            "venues:\n"
            "  okx:\n"
            "    symbols: [BTC/USDT]\n"
            "    rate_limit_shar: 0.5\n"
            "    depth: many\n"
            "risk: {max_order_notional: -1}\n"
            "risks: {}\n"
        )
    )
    name = text.split(":", maxsplit=1)[0]
    assert f"{name}:1:7: mode: should be one of" in text
    assert "did you mean 'demo'?" in text
    assert (
        f"{name}:5:5: venues.okx.rate_limit_shar: unknown key  did you mean 'rate_limit_share'?"
        in text
    )
    assert "      rate_limit_shar: 0.5\n      ^" in text
    assert f"{name}:6:12: venues.okx.depth: should be a whole number" in text
    assert f"{name}:7:28: risk.max_order_notional: should be more than 0" in text
    assert f"{name}:8:1: risks: unknown key  did you mean 'risk'?" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("risk: {max_order_notional: 9, max_open_notional: 8}", "more than max_open_notional 8"),
        ("supervision: {backoff_initial_s: 9, backoff_max_s: 8}", "more than backoff_max_s"),
        ("supervision: {threads: {persistence: tick}}", "persistence needs a thread other than"),
        ("supervision: {threads: {risk: other}}", "not spelled"),
        ("supervision: {threads: {exchange.nobody: other}}", "no venue for exchange.nobody"),
        ("risk: {max_position: {btc: 1}}", "not spelled"),
        ("risk: {price_collar_pct: .nan}", "finite"),
        ("risk: {price_collar_pct: true}", "should be a number"),
        ("mode: demo\nmode: demo", "the same key a second time"),
        ("venues: {best: {adapter: okx, symbols: [A/B]}}", "word of the command line"),
        ("venues: {nosuch: {symbols: [A/B]}}", "should be one of binance"),
        ("venues: {okx: {symbols: []}}", "at least 1"),
        ("venues: {okx: {symbols: [A/B, A/B]}}", "twice"),
        ("venues: {okx: {}}", "symbols: is missing"),
        ("venues: {okx: {symbols: [BTCUSDT]}}", "not spelled"),
        ("venues: {okx: {symbols: [A/B], enabled: false}}", "no venue is enabled"),
        ("venues: {okx: {symbols: [A/B], account: binance}}", "not spelled"),
        (
            "venues: {okx: {symbols: [A/B]}, two: {adapter: okx, symbols: [A/B], account: okx.main}}",
            "share the account",
        ),
        (
            "venues: {okx: {symbols: [A/B]}, two: {adapter: okx, symbols: [A/B]}}",
            "okx and two have no key of their own: each needs its own login",
        ),
        (
            (
                "venues: {okx: {symbols: [A/B], credentials: {api_key: a, api_secret: b}},"
                " two: {adapter: okx, symbols: [A/B], credentials: {api_key: a, api_secret: b}}}"
            ),
            "okx and two have the same key",
        ),
        ("venues: {okx: {symbols: [A/B], urls: {rest: 'ftp://x'}}}", "should be a URL"),
        ("venues: {okx: {symbols: [A/B], urls: {rest: 'https://www.okx.com'}}}", "real venue"),
        ("venues: {okx: {symbols: [A/B], credentials: {api_key: a}}}", "come together"),
        (
            (
                "venues: {g: {adapter: ccxt, ccxt_id: derive, symbols: [A/B],"
                " credentials: {api_key: k, api_secret: s}, urls: {rest: 'https://api.derive.xyz'}}}"
            ),
            "keys would go to api.derive.xyz",
        ),
        ("demo: {simulator: external}", "needs urls"),
        ("demo: {maker: on}", "should be true or false"),
        ("name: a/b", "not spelled"),
        ("schema: 2", "should be one of 1"),
        ("- a\n- b", "map of sections"),
        ("mode: [", "not YAML"),
        ("a: &a [*a]", "without end"),
        ("mode: !!python/object:os.system x", "means nothing here"),
        ("mode: ${NOPE}", "environment has no NOPE"),
        ("mode: ${file:/nope}", "/nope cannot be read"),
        ("mode: ${a b}", "is neither"),
        ("mode: paper", "paper mode"),
        ("mode: live", "live_confirm"),
    ],
)
def test_what_is_wrong_is_said_in_words(written, text, words):
    assert words in problems(written(text))


def test_a_missing_file_is_a_sentence(tmp_path):
    assert "no such configuration file" in problems(tmp_path / "none.yaml")


def test_numbers_are_exact_and_never_floats(written):
    config = load(
        written("risk: {max_order_notional: 0.1000000000000000000001, max_position: {BTC: 1e-8}}"),
        environ={},
    )
    assert config.risk.max_order_notional == Decimal("0.1000000000000000000001")
    assert config.risk.max_position == {"BTC": Decimal("1e-8")}


def test_values_come_from_the_environment_and_from_files(written, tmp_path):
    (tmp_path / "key").write_text("0123\n")
    path = written(
        "name: ${NAME}\n"
        "risk: {max_open_orders: '${MAX:-7}'}\n"
        "venues: {okx: {symbols: [A/B], credentials:\n"
        f"  {{api_key: '${{file:{tmp_path}/key}}', api_secret: '${{S:-x}}'}}}}}}\n"
    )
    config = load(path, environ={"NAME": "desk-7"})
    keys = config.venues["okx"].credentials
    assert config.name == "desk-7"
    assert config.risk.max_open_orders == 7
    assert keys.api_key is not None
    assert keys.api_key.get_secret_value() == "0123"


def test_a_secret_shows_nowhere(written):
    text = "venues: {okx: {symbols: [A/B], credentials: {api_key: k4n4ry, api_secret: s3cret}}}\n"
    config = load(written(text), environ={})
    for shown in (repr(config), str(config.settings()), config_hash(config)):
        assert "k4n4ry" not in shown
        assert "s3cret" not in shown
    complaint = problems(written(text + "mode: dmo\nvenues: 3\n"))
    assert "s3cret" not in complaint


def test_the_hash_ignores_secrets_and_sees_everything_else(written):
    base = "venues: {okx: {symbols: [A/B], credentials: {api_key: K, api_secret: S}}}"
    one = config_hash(load(written(base), environ={}))
    assert one == config_hash(load(written(base.replace("S}", "T}")), environ={}))
    assert one != config_hash(load(written(base.replace("A/B", "A/C")), environ={}))


def test_a_flag_lowers_the_mode_and_leaves_keys_and_urls_behind(written):
    path = written(
        "mode: live\n"
        "venues: {okx: {symbols: [A/B], urls: {rest: 'https://www.okx.com'},\n"
        "  credentials: {api_key: a, api_secret: b}}}\n"
    )
    config = load(path, mode_flag="demo", environ={})
    assert config.mode == "demo"
    assert config.venues["okx"].urls.given() == {}
    assert config.venues["okx"].credentials.api_key is None


def test_the_gates_of_a_mode_never_stand_before_stopping(written):
    path = written(
        "mode: live\nname: desk-9\nvenues: {okx: {symbols: [BTC/USDT], urls: {rest: https://www.okx.com}}}"
    )
    with pytest.raises(ConfigError):
        load(path)
    found = load(path, gated=False)
    assert (found.mode, found.name, found.venues["okx"].urls.rest) == (
        "live", "desk-9", "https://www.okx.com",
    )  # fmt: skip


def test_a_flag_never_raises_the_mode():
    for mode in ("paper", "testnet", "live"):
        assert "can only lower" in problems(None, mode_flag=mode)
    assert "should be one of" in problems(None, mode_flag="prod")


def test_the_state_folder_is_found_in_order(written, tmp_path):
    path = written(f"storage: {{dir: {tmp_path}/c}}")
    environ = {"XCORE_STATE_DIR": "/e", "XDG_STATE_HOME": "/x"}
    assert load(path, state_dir=Path("/f"), environ=environ).state_dir == Path("/f")
    assert load(path, environ=environ).state_dir == Path("/e")
    assert load(path, environ={}).state_dir == tmp_path / "c"
    assert load(None, environ={"XDG_STATE_HOME": "/x"}).state_dir == Path("/x/xcore/demo/desk-1")


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=120))
def test_any_text_is_a_configuration_or_a_config_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode())
    with suppress(ConfigError):
        load(path, environ={})


def test_a_choice_and_a_switch_may_come_from_the_environment(written):
    path = written(
        "mode: ${MODE:-demo}\ndemo: {maker: '${MAKER:-false}'}\nlog: {level: '${L:-DEBUG}'}"
    )
    config = load(path, environ={})
    assert (config.mode, config.demo.maker, config.log.level) == ("demo", False, "DEBUG")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deriv: {adapter: ccxt, ccxt_id: derive, symbols: [ETH/USDC]}", "called deriv and speaks"),
        ("d: {adapter: ccxt, ccxt_id: deribit, symbols: [EUR/USD]}", "probably deriv is Deriv"),
        ("d: {adapter: ccxt, ccxt_id: deriv, symbols: [EUR/USD]}", "ccxt has no deriv"),
        (
            "d: {adapter: ccxt, ccxt_id: derive, symbols: [ETH/USDC], urls: {rest: 'https://deribit.com'}}",
            "deribit.com is deribit's",
        ),
        ("d: {adapter: ccxt, ccxt_id: derive, symbols: [ETH/USDC]}", None),
        ("deribit: {adapter: ccxt, ccxt_id: deribit, symbols: [BTC/USDC]}", None),
        ("okx: {symbols: [EUR/USD]}", None),
    ],
)
def test_one_of_the_confusable_venues_that_probably_means_another_is_warned_of(text, words):
    name, _, venue = text.partition(": ")
    settings = Settings.model_validate({"venues": {name: YAML(typ="safe").load(venue)}})
    found = warnings(settings)
    assert (found == []) if words is None else (words in " | ".join(found)), found


def test_a_confusable_name_that_is_no_adapter_is_told_what_to_write(written):
    text = problems(written("venues: {d: {adapter: deribit, symbols: [BTC/USDC]}}\n"))
    assert "`adapter: ccxt` with `ccxt_id: deribit`" in text
    assert "not to be taken for deriv, derive" in text


KEYRING = (
    "venues: {okx: {symbols: [A/B], credentials:\n"
    "  {api_key: '${keyring:xcore/okx key}', api_secret: '${keyring:desk/xcore/okx}'}}}\n"
)


def test_a_secret_comes_from_the_keyring(written, tmp_path, monkeypatch):
    # A stand-in for a library that needs a desktop's session: what it is asked, and what it answers.
    (tmp_path / "keyring.py").write_text(
        "def get_password(service, user):\n"
        "    if user == 'locked': raise RuntimeError('s3cret')\n"
        "    return None if user == 'none' else f'{service}|{user}'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    keys = load(written(KEYRING), environ={}).venues["okx"].credentials.given()
    assert keys == {"api_key": "xcore|okx key", "api_secret": "desk/xcore|okx"}
    assert "keyring set xcore none" in problems(written(KEYRING.replace("okx key", "none")))
    locked = problems(written(KEYRING.replace("okx key", "locked")))
    assert "did not open: RuntimeError" in locked
    assert "s3cret" not in locked
    assert "service/user" in problems(written(KEYRING.replace("xcore/okx key", "okx")))


def test_without_the_keyring_library_the_remedy_is_told(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "pip install 'xcore[keyring]'" in problems(written(KEYRING))
