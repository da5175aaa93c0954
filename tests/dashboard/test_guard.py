"""The doors of the page and of the metrics, without a core behind them."""

import asyncio
import re

import aiohttp
import pytest
from pydantic import ValidationError
from waiting import wait_for_async

from dashboard.__main__ import Process
from dashboard.guard import COOKIE, Guard
from engine.config_models import Settings

TOKEN = "a-token-for-tests-only"
OPTIONS = {
    "dashboard": True, "host": "127.0.0.1", "port": 0, "token": TOKEN, "own_token": False,
    "allow_commands": True, "allowed_hosts": [], "metrics": True, "metrics_host": "127.0.0.1",
    "metrics_port": 0, "log": "",
}  # fmt: skip
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def answers(folder, *asked, **options):
    """Return (status, headers, text) of each (method, URL or path, headers) asked of a page."""
    process = Process(folder, {**OPTIONS, **options})
    task = asyncio.create_task(process.run(is_child=False))
    await wait_for_async(lambda: process.url or task.done(), "the page listens")
    base = process.url.partition("/?")[0]
    metrics = re.search(r"http://[^/]+", process.notes[0])[0]
    found = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        for method, path, headers in asked:
            url = (metrics if path in ("/metrics", "/livez", "/readyz") else base) + path
            given = {name: value.replace("BASE", base) for name, value in headers.items()}
            given = {n: v.replace("PORT", base.rpartition(":")[2]) for n, v in given.items()}
            data = "{}" if method == "POST" else None
            async with http.request(
                method, url, headers=given, data=data, allow_redirects=False
            ) as answer:
                found.append((answer.status, answer.headers, await answer.text()))
    process.stopping.set()
    await task
    return found


def test_only_this_hosts_names_this_starts_token_and_this_pages_scripts_are_let_in(tmp_path):
    cookie = {"Cookie": f"{COOKIE}_PORT={TOKEN}"}
    posted = {**cookie, "Content-Type": "application/json"}
    asked = [
        (401, "GET", "/", {}),
        (401, "GET", "/?token=wrong", {}),
        (401, "GET", "/main.js", {}),
        (401, "GET", "/api/state", {"Authorization": "Bearer wrong"}),
        (401, "GET", "/api/state", {"Cookie": f"{COOKIE}_PORT=wrong"}),
        (421, "GET", f"/?token={TOKEN}", {"Host": "evil.example"}),
        (421, "GET", "/api/state", {**BEARER, "Host": "evil.example:80"}),
        (303, "GET", f"/?token={TOKEN}", {}),
        (200, "GET", "/", cookie),
        (200, "GET", "/api/state", cookie),
        (200, "GET", "/api/state", {**BEARER, "Host": "localhost"}),
        (403, "POST", "/api/halt", posted),
        (403, "POST", "/api/halt", {**posted, "Origin": "http://evil.example"}),
        (
            403,
            "GET",
            "/api/feed",
            {**cookie, "Upgrade": "websocket", "Origin": "http://evil.example"},
        ),
        (415, "POST", "/api/halt", {**cookie, "Origin": "BASE", "Content-Type": "text/plain"}),
        (503, "POST", "/api/halt", {**posted, "Origin": "BASE"}),
        (428, "POST", "/api/resume", {**posted, "Origin": "BASE"}),  # not known is taken for live
        (404, "GET", "/../supervisor.py", cookie),
    ]
    found = asyncio.run(answers(tmp_path, *[row[1:] for row in asked]))
    assert [row[0] for row in found] == [row[0] for row in asked]
    cookies = found[7][1]["Set-Cookie"]
    assert "HttpOnly" in cookies
    assert "SameSite=Strict" in cookies
    assert all(TOKEN not in text for _, _, text in found)
    assert all(
        "default-src 'none'; script-src 'self'" in h["Content-Security-Policy"] for _, h, _ in found
    )


def test_a_page_that_may_not_command_refuses_all_commands(tmp_path):
    posted = {**BEARER, "Content-Type": "application/json"}
    asked = [("POST", path, posted) for path in ("/api/halt", "/api/orders", "/api/orders/cancel")]
    found = asyncio.run(answers(tmp_path, *asked, allow_commands=False))
    assert [row[0] for row in found] == [403, 403, 403]


def test_beyond_loopback_only_an_own_token_may_command(tmp_path):
    for own_token in (False, True):
        process = Process(tmp_path, {**OPTIONS, "host": "0.0.0.0", "own_token": own_token})
        assert process.server._settings.commands is own_token


def test_without_a_core_the_probes_say_so_and_a_foreign_name_is_told_nothing(tmp_path):
    foreign = ("GET", "/metrics", {"Host": "evil.example"})
    asked = [("GET", path, {}) for path in ("/readyz", "/livez", "/metrics")]
    ready, live, metrics, refused = asyncio.run(answers(tmp_path, *asked, foreign))
    assert (ready[0], live[0]) == (503, 503)
    assert "the core does not answer" in ready[2]
    assert metrics[0] == 200
    assert "xcore_up 0.0" in metrics[2]
    assert refused[0] == 421


def test_a_page_beyond_loopback_needs_a_token_of_its_own():
    with pytest.raises(ValidationError, match="is not loopback"):
        Settings.model_validate({"dashboard": {"host": "0.0.0.0"}})
    with pytest.raises(ValidationError, match="at least 16"):
        Settings.model_validate({"dashboard": {"token": "short"}})
    found = Settings.model_validate({"dashboard": {"host": "0.0.0.0", "token": "x" * 16}})
    assert found.dashboard.given_token() == "x" * 16
    assert "xxxx" not in str(found.model_dump(mode="json"))
    assert not Guard("", "0.0.0.0").is_loopback
