"""The page in a real Chromium on a real core: what people do with it, and what it does when things die."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from waiting import wait_for

from engine.client import Client
from engine.errors import CoreError

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PROMETHEUS = shutil.which("prometheus")
WITHIN_MS = 30_000
yaml = YAML(typ="safe")
PAIRS = {"symbols": ["BTC/USDT", "ETH/USDT"]}
CONFIG = {
    "schema": 1, "mode": "demo", "name": "page-test", "demo": {"drill": False},
    "venues": {"binance": PAIRS, "okx": PAIRS},
    "dashboard": {"port": 0}, "metrics": {"port": 0}, "log": {"console": "off"},
}  # fmt: skip
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="no chromium here: apt-get install -y --no-install-recommends chromium",
    ),
]


class Core:
    """A core as `make run` starts it, and the page that it serves."""

    def __init__(self, folder):
        self.folder = folder
        self.state_dir = folder / "state"
        (folder / "config.json").write_text(json.dumps(CONFIG))
        self.start()

    def start(self):
        env = {n: v for n, v in os.environ.items() if not n.startswith("XCORE_")}
        self.output = self.folder / "output.log"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "supervisor.py", "-c", str(self.folder / "config.json"),
                 "--state-dir", str(self.state_dir)],
                cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        self.url = wait_for(lambda: self.said(r"page +(http://\S+)"), self.output.read_text)
        self.metrics = self.said(r"metrics +(http://\S+)")
        wait_for(lambda: self.said(r"(ready:)"), self.output.read_text)

    def said(self, pattern):
        found = re.search(pattern, self.output.read_text())
        return found and found[1]

    def ask(self, op, **arguments):
        with Client(self.state_dir) as client:
            return client.request(op, **arguments)

    def page_pid(self):
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.state_dir / "dashboard.json").read_text())["pid"]
        return None

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    core = Core(tmp_path_factory.mktemp("page"))
    yield core
    core.stop()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only where there is a chromium

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(core, browser):
    """One open page for all of these tests, and everything that it asked for or complained about."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    context.set_default_timeout(WITHIN_MS)
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console",
        lambda m: page.complaints.append(m.text) if "Content Security" in m.text else None,
    )
    page.goto(core.url)
    until(page, "document.querySelectorAll('#bids tr').length > 2")
    yield page
    context.close()


def until(page, condition):
    """Wait in the browser; the page itself is what moves."""
    page.wait_for_function(f"() => {condition}", timeout=WITHIN_MS)


def text(page, selector):
    return page.locator(selector).inner_text()


def place(page, price, *, venue="okx", quantity="0.01"):
    page.locator("#t-venue").select_option(venue)
    page.locator("#t-symbol").select_option("BTC/USDT")
    page.locator("#t-quantity").fill(quantity)
    page.locator("#t-price").fill(price)
    page.locator("#t-place").click()
    until(page, "!['', 'sending ...'].includes(document.querySelector('#ticket-said').textContent)")
    return text(page, "#ticket-said")


def mine(core):
    return next(o for o in core.ask("order.list", state="all") if not o["who"].startswith("demo"))


def test_the_page_opens_by_its_url_and_fetches_nothing_from_elsewhere(core, page):
    assert "token" not in page.url
    assert text(page, "#mode") == "DEMO, simulated venues"
    until(page, "document.querySelectorAll('#venues li:not(.bad)').length === 2")
    until(page, "document.querySelectorAll('#actors tr').length >= 8")
    until(page, "document.querySelectorAll('#latency h3').length === 3")
    until(page, "/[-\\d.]+ \\/ -?\\d/.test(document.querySelector('#matrix-body').textContent)")
    until(page, "document.querySelectorAll('#log li').length > 3")
    assert page.locator("#gauges [role=meter]").count() >= 4
    origin = page.url.rstrip("/")
    assert len(page.asked) > 8
    assert [u for u in page.asked if not u.startswith(origin)] == []
    token = core.url.rpartition("=")[2]
    assert token not in page.content()
    assert token not in (core.state_dir / "log" / "xcore.jsonl").read_text()


def test_an_order_is_placed_its_story_told_and_canceled(core, page):
    assert place(page, "60000").startswith("NEW: buy 0.01 BTC/USDT at okx")
    order = mine(core)
    page.locator("#filter").fill(order["order_id"])
    page.get_by_label(f"Story of order {order['order_id']}").click()
    until(page, "document.querySelectorAll('#story-rows tr').length >= 2")
    kinds = page.locator("#story-rows td:nth-child(2)").all_inner_texts()
    assert kinds[:2] == ["OrderApproved", "OrderAcknowledged"]
    assert "whole story" in text(page, "#story-note")
    page.locator("#story-cancel").click()
    until(page, "document.querySelector('#story-rows').textContent.includes('OrderCanceled')")
    page.locator("#story-close").click()
    assert core.ask("order.show", order_id=order["order_id"])["status"] == "CANCELED"
    page.locator("#which").select_option("all")
    until(page, "document.querySelector('#orders-body').textContent.includes(' CANCELED')")
    page.locator("#filter").fill("")


def test_a_split_order_is_shown_as_its_children_end(core, page):
    assert "best, market" in place(page, "", venue="best")
    parent = next(
        o for o in core.ask("order.list", state="all", venue="best") if "demo" not in o["who"]
    )
    page.locator("#which").select_option("all")
    page.locator("#filter").fill(parent["order_id"])
    until(page, "document.querySelector('#orders-body').textContent.includes('✓ FILLED')")
    page.get_by_label(f"Story of order {parent['order_id']}").click()
    until(page, "document.querySelector('#story-rows').textContent.includes('OrderFilled')")
    assert page.locator("#story-rows td:nth-child(2)").first.inner_text() == "ParentAccepted"
    page.locator("#story-close").click()
    page.locator("#filter").fill("")


def test_a_dry_run_sends_nothing_and_a_refusal_is_said(core, page):
    before = core.ask("status")["journal"]["seq"]
    page.locator("#t-price").fill("60000")
    page.locator("#t-quantity").fill("0.02")
    page.locator("#t-dry").click()
    until(
        page,
        "document.querySelector('#ticket-said').textContent.startsWith('dry run: would be approved')",
    )
    assert "DENIED" in place(page, "60000", quantity="1") or "not placed" in text(
        page, "#ticket-said"
    )
    assert not [r for r in core.ask("journal.tail", after_seq=before, count=1000)
                if r["kind"] == "OrderApproved" and r["order"]["quantity"] in ("0.02", "1")]  # fmt: skip


def test_halt_by_key_and_resume_with_a_reason(core, page):
    page.locator("h1").click()
    page.keyboard.press("Shift+H")
    until(page, "document.querySelector('#say').textContent.startsWith('HALTED: 2 of 2 gates')")
    until(page, "document.querySelector('#state').textContent === '■ HALTED'")
    assert core.ask("risk.show")["trading_state"] == "HALTED"
    until(page, "document.querySelector('#halts').textContent.includes('halted on the page')")
    assert "not placed" in place(page, "60000")
    page.locator("#resume").click()
    page.locator("#ask-input").fill("practice over")
    page.locator("#ask-yes").click()
    until(page, "document.querySelector('#state').textContent === '● ACTIVE'")
    resumed = core.ask("journal.tail", count=200)
    assert [r["reason"] for r in resumed if r["kind"] == "TradingResumed"] == ["practice over"]


def test_a_killed_actor_is_seen_coming_back_with_the_orders_intact(core, page):
    assert place(page, "60001").startswith("NEW")
    order = mine(core)
    core.ask("actor.kill", name="exchange.okx")
    row = "[...document.querySelectorAll('#actors tr')].find(r => r.textContent.includes('exchange.okx'))"
    until(page, f"{row}.cells[1].textContent === '● running' && {row}.cells[2].textContent === '1'")
    until(page, "document.querySelectorAll('#venues li:not(.bad)').length === 2")
    page.locator("#filter").fill(order["order_id"])
    until(page, "document.querySelector('#orders-body').textContent.includes('● NEW')")
    page.locator("#filter").fill("")


def test_the_keyboard_does_everything_and_nothing_while_typing(core, page):
    page.locator("h1").click()
    page.keyboard.press("?")
    assert "halt everything" in text(page, "#keys")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    until(page, "document.querySelector('#symbols [aria-pressed=true]').textContent === 'ETH/USDT'")
    page.keyboard.press("/")
    page.keyboard.type("60001 c2t?")
    assert page.locator("#filter").input_value() == "60001 c2t?"
    assert not page.locator("#keys").is_visible()
    page.locator("#filter").fill(mine(core)["order_id"])
    page.locator("#filter").blur()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#story').open")
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    assert page.locator("#frozen").is_visible()
    page.keyboard.press("Space")
    page.keyboard.press("c")
    until(page, "document.querySelector('#orders-body').textContent.includes('CANCELED')")
    page.locator("#filter").fill("")


def test_no_serious_finding_of_axe_in_light_in_dark_and_on_a_phone(page):
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415  only where there is a chromium

    def findings(**rules):
        options = {"resultTypes": ["violations"], "rules": rules}
        found = Axe().run(page, options=options).response["violations"]
        return [(v["id"], [n["target"] for n in v["nodes"]]) for v in found
                if v["impact"] in ("serious", "critical")]  # fmt: skip

    page.locator("#which").select_option("open")
    page.locator("#filter").fill("binance btc")  # a few rows of each kind: axe looks at every cell
    page.locator("#log-filter").fill("running")
    page.locator("h1").click()
    assert findings() == []
    page.keyboard.press("t")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert findings() == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert findings(**{"color-contrast": {"enabled": False}}) == []  # colours are the same there
    page.keyboard.press("t")
    page.locator("#filter").fill("")
    page.locator("#log-filter").fill("")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_in_live_the_page_is_red_and_asks_before_it_sends(core, page, browser):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    live = context.new_page()

    def play_live(route):
        server = route.connect_to_server()
        server.on_message(lambda text: route.send(text.replace('"mode":"demo"', '"mode":"live"')))

    live.route_web_socket(re.compile("/api/feed"), play_live)
    live.goto(wait_for(lambda: core.said(r"page +(http://\S+)"), "the URL"))
    until(live, "document.title.startsWith('LIVE ●')")
    assert (
        live.evaluate("getComputedStyle(document.querySelector('header')).borderTopColor")
        == "rgb(179, 18, 31)"
    )
    seq = core.ask("journal.tail", count=1)[0]["seq"]
    until(live, "document.querySelectorAll('#t-venue option').length > 2")
    live.locator("#t-venue").select_option("okx")
    live.locator("#t-quantity").fill("0.013")
    live.locator("#t-price").fill("60000")
    live.locator("#t-place").click()
    assert "buy 0.013 BTC/USDT at okx, 60000" in text(live, "#ask-text")
    live.locator("#ask-input").fill("y")
    live.locator("#ask-yes").click()
    until(live, "document.querySelector('#ticket-said').textContent === 'not sent'")
    live.locator("#halt").click()
    assert "again" in text(live, "#halt")
    context.close()
    after = core.ask("journal.tail", after_seq=seq, count=1000)
    assert [r for r in after if r["kind"] == "TradingHalted"] == []
    assert [
        r for r in after if r["kind"] == "OrderApproved" and r["order"]["quantity"] == "0.013"
    ] == []


@pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus here: apt-get install prometheus")
def test_a_real_prometheus_answers_every_query_of_grafana_and_of_the_alerts(core, tmp_path):
    scraped = yaml.load(ROOT / "deploy" / "prometheus" / "prometheus.yml")
    scraped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    scraped["rule_files"] = [str(ROOT / "deploy" / "prometheus" / "alerts.yml")]
    scraped["scrape_configs"][0]["static_configs"][0]["targets"] = [core.metrics.split("/")[2]]
    with (tmp_path / "prometheus.yml").open("w") as file:
        yaml.dump(scraped, file)
    panels = json.loads((ROOT / "deploy" / "grafana" / "xcore.json").read_text())["panels"]
    rules = yaml.load(ROOT / "deploy" / "prometheus" / "alerts.yml")["groups"][0]["rules"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [PROMETHEUS, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
    )  # fmt: skip

    def asked(query):
        where = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError), opener.open(where, timeout=10) as answer:
            return json.load(answer)["data"]["result"]
        return []

    try:
        for expr in [t["expr"] for p in panels for t in p["targets"]]:
            if "balance_differences" not in expr:  # there are none, so it is rightly absent
                wait_for(lambda expr=expr: asked(expr), expr)
        loud = {"CoreLost", "VenueDown", "OrderUnknown", "JournalLag"}
        assert [r["alert"] for r in rules if r["alert"] in loud and asked(r["expr"])] == []
        assert [r["expr"] for r in rules if not asked(re.split(r" [<>=]+ ", r["expr"])[0])
                and "balance_differences" not in r["expr"]] == []  # fmt: skip
    finally:
        process.terminate()
        process.wait(20)


def test_a_killed_page_process_comes_back_and_the_core_never_noticed(core, page):
    before, seen = core.page_pid(), core.ask("status")["actors"]
    os.kill(before, signal.SIGKILL)
    until(page, "document.querySelector('#lost').textContent.includes('process does not answer')")
    wait_for(lambda: core.page_pid() not in (None, before), "another page process")
    until(page, "!document.body.classList.contains('lost')")
    after = core.ask("status")["actors"]
    assert [a["restarts"] for a in after] == [a["restarts"] for a in seen]


def test_a_killed_core_turns_everything_grey_and_the_next_one_brings_it_back(core, page):
    assert place(page, "60002").startswith("NEW")
    order = mine(core)
    core.process.kill()
    core.process.wait()
    until(page, "document.querySelector('#lost').textContent.includes('The core does not answer')")
    assert page.title().startswith("LOST")
    assert page.locator("#t-place").is_disabled()
    assert page.locator("#cancel-all").is_disabled()
    assert page.locator("#halt").is_enabled()
    assert "line-through" in page.evaluate(
        "getComputedStyle(document.querySelector('#bids td')).textDecoration"
    )
    status = page.request.get(core.metrics.replace("/metrics", "/readyz"))
    assert (status.status, status.text()) == (503, "the core does not answer\n")
    core.start()
    until(page, "!document.body.classList.contains('lost')")
    page.locator("#filter").fill(order["order_id"])
    until(page, "document.querySelector('#orders-body').textContent.includes('● NEW')")
    assert page.request.get(core.metrics.replace("/metrics", "/readyz")).status == 200
    with contextlib.suppress(CoreError):
        core.ask("order.cancel", order_ids=[order["order_id"]])
    assert page.complaints == []
