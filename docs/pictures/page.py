"""Make docs/pictures/dashboard.png: the page of a real core, after the drill of demo mode.

`.venv/bin/python docs/pictures/page.py` starts supervisor.py on a fresh state folder, opens its page in
Chromium (`apt-get install -y --no-install-recommends chromium`), places an order on it, waits for the
drill to kill an ExchangeActor and takes the picture. Nothing is edited.
"""  # noqa: INP001

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "pictures" / "dashboard.png"
SIZE = {"width": 1440, "height": 900}
WITHIN_MS = 90_000
DRILLED = (
    "() => [...document.querySelectorAll('#actors tr')].some(r => r.cells[2].textContent === '1')"
)


def url_of(core: subprocess.Popen[str]) -> str:
    """Read the core's own words until it says where its page is."""
    assert core.stdout is not None
    for line in core.stdout:
        if found := re.match(r"page +(http\S+)", line):
            return found[1]
    raise SystemExit("the core ended without a page")


def photograph(page: Page, url: str) -> None:
    """Place an order, wait for the drill, and take the picture."""
    page.goto(url)
    page.wait_for_function("() => document.querySelectorAll('#orders-body tr').length > 8")
    page.locator("#t-venue").select_option("okx")
    page.locator("#t-quantity").fill("0.01")
    page.locator("#t-price").fill("64000")
    page.locator("#t-place").click()
    page.wait_for_function(DRILLED)
    page.wait_for_function("() => document.querySelectorAll('#venues li:not(.bad)').length === 2")
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURE)


def main() -> None:
    """Run a core and a browser for one picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no chromium here: apt-get install -y --no-install-recommends chromium")
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "config.yaml"
        shipped = (ROOT / "config.yaml").read_text()
        settings.write_text(
            shipped.replace("port: 8420", "port: 0").replace("port: 9420", "port: 0")
        )
        core = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, str(ROOT / "supervisor.py"), "-c", str(settings), "--state-dir",
             str(Path(folder) / "state")],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox"]
                )
                page = browser.new_page(viewport=SIZE, color_scheme="light")
                page.set_default_timeout(WITHIN_MS)
                photograph(page, url_of(core))
                browser.close()
        finally:
            core.terminate()
            core.wait(20)


if __name__ == "__main__":
    main()
