"""The status page in a real browser: ``pytest -m browser``. Pictures go to the folder named by TXSOTER_SCREENSHOTS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from txsoter import MAINNET
from txsoter.capture import CaptureState
from txsoter.test.peer.cases import as_tx, over_sockets, real_reactor
from txsoter.test.service.browser import Browser
from txsoter.test.service.scene import Scene
from txsoter.testing import remote_version
from txsoter.wire import Inv, Reject, VerAck

pytestmark = pytest.mark.browser

LIVE = "return document.body.dataset.link === 'live'"
PEERS = "return [...document.querySelectorAll('#peer-rows tr')].map(row => row.innerText)"
HOSTILE = (
    b"/soterwire:0.6.0/<script>window.run = 1</script><img src=x onerror='window.run=2'>:1.0.0/"
    + b"W" * 120
    + b"\xe2\x80\xae\x07/"
)
# of every element that has words of its own, the least contrast with what is behind it (WCAG 2.2, 1.4.3)
CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
const behind = (node) => {
  for (let each = node; each; each = each.parentElement) {
    const color = rgba(getComputedStyle(each).backgroundColor);
    if (color[3] > 200) return color;
  }
  return [255, 255, 255, 255];
};
const found = [];
for (const node of document.body.querySelectorAll("*")) {
  const words = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
  if (!words || !node.checkVisibility() || node.closest("script, style, template, .unseen")) continue;
  const [a, b] = [light(rgba(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
  found.push([(a + 0.05) / (b + 0.05), node.tagName + "." + node.className + " " + node.textContent.slice(0, 30)]);
}
return found.sort((x, y) => x[0] - y[0]).slice(0, 3).concat([[found.length, "in all"]]);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.quit()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return Path(os.environ.get("TXSOTER_SCREENSHOTS") or tmp_path)


async def in_thread(do: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    return await deferToThread(do, *arguments, **keywords)


async def looking(browser: Browser, scene: Scene, *window: Any, **looks: Any) -> None:
    """Begin the scene, and look at it."""
    scene.start()
    # the page of a test before this one still looks for its node
    await in_thread(browser.open, "about:blank")
    await in_thread(browser.complaints)
    await in_thread(browser.open, scene.url, *window, **looks)
    await in_thread(browser.wait, LIVE)


async def assert_quiet(browser: Browser) -> None:
    """No error, no violation of the policy, no warning."""
    assert await in_thread(browser.complaints) == []


@over_sockets(120)
async def test_peers_appear_and_vanish_by_themselves(browser: Browser) -> None:
    """It shows live peers, and is up to date without being loaded again."""
    scene = Scene(real_reactor(), past=100.0)
    try:
        await looking(browser, scene)
        shown = await in_thread(browser.run, PEERS)
        assert len(shown) == 8
        assert "soterwallet 0.12.4" in shown[-1]
        assert "198.51.100.9:" in shown[-1]
        assert sum(each.startswith("in") for each in shown) == 1
        await in_thread(browser.run, "document.body.loaded = 'once'")
        scene.join("192.0.2.222", "newcomer:7.7.7")
        await in_thread(browser.wait, f"{PEERS}.some(text => text.includes('newcomer 7.7.7'))")
        assert await in_thread(browser.run, "return document.querySelector('#t-peers').textContent") == "9"
        assert await in_thread(browser.run, "return document.title") == "9 peers · mainnet · soter"
        assert await in_thread(browser.run, "return document.querySelector('#news').textContent") == "9 peers"
        scene.leave("192.0.2.222")
        await in_thread(browser.wait, f"{PEERS}.every(text => !text.includes('newcomer'))")
        ended = "return document.querySelector('#close-rows tr').innerText"
        assert "newcomer 7.7.7" in await in_thread(browser.wait, ended)
        assert await in_thread(browser.run, "return document.body.loaded") == "once"
        await assert_quiet(browser)
        asked = {url for url in await in_thread(browser.requested) if not url.startswith("chrome:")}
        assert {url for url in asked if not url.startswith((scene.url, "data:"))} == set()
        assert {scene.url, f"{scene.url}events"} <= asked
    finally:
        await scene.stop()


@over_sockets(60)
async def test_blocks_and_transactions(browser: Browser) -> None:
    """What is announced is shown: hash, height, who was first, how many followed."""
    scene = Scene(real_reactor(), past=200.0)
    try:
        await looking(browser, scene)
        first = await in_thread(browser.run, "return document.querySelector('#block-rows tr').innerText")
        (block,) = [row for row in scene.status.snapshot()["blocks"] if row["hash"][:50] in first]
        assert block["hash"][-8:] in first
        assert f"{block['height']:,}" in first
        assert block["first"]["address"] in first
        assert f"{block['followed']} peers" in first
        assert await in_thread(browser.run, "return document.querySelectorAll('#tx-rows tr').length") == 15
        await assert_quiet(browser)
    finally:
        await scene.stop()


@over_sockets(60)
async def test_markup_of_a_remote_is_text(browser: Browser, pictures: Path) -> None:
    """A user agent with a script in it is shown letter by letter, and not run; nor is a reject's reason."""
    scene = Scene(real_reactor(), past=30.0)
    try:
        await looking(browser, scene, 390, 844)
        version = remote_version(user_agent=HOSTILE, genesis_hash=MAINNET.genesis_hash, last_block=2**31 - 1)
        scene.intrude("192.0.2.66", version, VerAck(), Inv([as_tx(1)]))
        scene.intrude("192.0.2.67", Reject(b"version", 1, b"<script>window.run = 3</script>"))
        text = await in_thread(
            browser.wait,
            "return [...document.querySelectorAll('#peer-rows b')].map(b => b.title)"
            ".find(title => title.includes('WWW'))",
        )
        assert text == HOSTILE[:-5].decode() + "\ufffd\ufffd/"
        visible = await in_thread(browser.run, "return document.querySelector('#peers').textContent")
        assert "<script>window.run = 1</script>" in visible
        announced = "return document.querySelector('#tx-rows').textContent.includes('<script>')"
        assert await in_thread(browser.wait, announced)
        rejected = "return document.querySelector('#close-rows').textContent.includes('window.run = 3')"
        assert await in_thread(browser.wait, rejected)
        assert await in_thread(browser.run, "return [window.run, document.scripts.length, document.images.length]") == [
            None, 1, 0,
        ]  # fmt: skip
        await assert_quiet(browser)
        await in_thread(browser.shoot, pictures / "hostile-phone.png", whole=True)
        for width in (320, 390, 420, 820, 1000, 1280):
            await in_thread(browser.open, scene.url, width, 800)
            await in_thread(browser.wait, LIVE)
            assert await in_thread(browser.run, WIDER) == []
        await in_thread(browser.shoot, pictures / "hostile-desktop.png")
    finally:
        await scene.stop()


# all that sticks out of the window or of its card
WIDER = """
const root = document.documentElement;
const wide = root.scrollWidth > innerWidth ? [`page ${root.scrollWidth} > ${innerWidth}`] : [];
for (const card of document.querySelectorAll(".card, .tiles > div, header")) {
  if (!card.checkVisibility()) continue;
  const edge = Math.min(card.getBoundingClientRect().right, innerWidth) + 0.5;
  for (const node of card.querySelectorAll("*")) {
    const hidden = node.closest(".unseen, thead, .hash, .first");
    if (hidden || !node.checkVisibility()) continue;
    const cell = node.matches("td, th, li") && node.scrollWidth > node.clientWidth + 1;
    if (cell || node.getBoundingClientRect().right > edge) wide.push(node.outerHTML);
  }
}
return wide;
"""


@over_sockets(60)
async def test_a_capture_that_stops_and_goes_on(browser: Browser) -> None:
    """The page says why, and when it is over."""
    scene = Scene(real_reactor(), past=30.0)
    rows = "return [...document.querySelectorAll('#capture li')].map(row => row.innerText.replaceAll('\\n', ' '))"
    dot = "return document.querySelector('#capture .dot').className"
    try:
        await looking(browser, scene)
        assert (await in_thread(browser.run, rows))[0].strip() == "recording"
        scene.capture = CaptureState("No space left on device", 412_300_000, 0, 1234, 1)
        await in_thread(browser.wait, f"{rows}[0].includes('No space left')")
        assert await in_thread(browser.run, dot) == "dot bad"
        assert "1,234" in (await in_thread(browser.run, rows))[-1]
        await assert_quiet(browser)
    finally:
        await scene.stop()


@over_sockets(60)
async def test_policy(browser: Browser) -> None:
    """Even if the page's own script were fooled: text does not become markup, and no other script runs."""
    scene = Scene(real_reactor(), remotes=False)
    try:
        await looking(browser, scene)
        await assert_quiet(browser)
        markup = "try { document.body.innerHTML = '<b>x</b>'; return 'taken'; } catch (e) { return e.name; }"
        assert await in_thread(browser.run, markup) == "TypeError"
        await in_thread(
            browser.run,
            "const s = document.createElement('script'); s.append('window.run = 1'); document.body.append(s);"
            "const i = document.createElement('img'); i.src = 'http://192.0.2.1/x.png'; document.body.append(i);",
        )
        assert await in_thread(browser.run, "return window.run") is None
        complaints = "\n".join(await in_thread(browser.complaints))
        for words in ("'TrustedHTML' assignment", "'TrustedScript' assignment", "img-src"):
            assert words in complaints
        assert await in_thread(
            browser.run, "return fetch('http://192.0.2.1/', {mode: 'no-cors'}).then(() => 'got', (e) => e.name)"
        ) == "TypeError"  # fmt: skip
        assert "connect-src" in "\n".join(await in_thread(browser.complaints))
    finally:
        await scene.stop()


@over_sockets(120)
@pytest.mark.parametrize("width", [320, 390, 600, 820, 1000, 1280])
async def test_width(browser: Browser, pictures: Path, width: int) -> None:
    """Nothing is wider than the window, on a phone or a desktop; two pictures are taken to be looked at."""
    scene = Scene(real_reactor(), past=1260.0)
    try:
        await looking(
            browser, scene, width, 844 if width < 600 else 1000, dark=width == 390, scale=2 if width < 600 else 1
        )
        assert await in_thread(browser.run, WIDER) == []
        if width in (390, 1280):
            name = "phone-dark" if width == 390 else "desktop-light"
            await in_thread(browser.shoot, pictures / f"{name}.png")
            await in_thread(browser.shoot, pictures / f"{name}-whole.png", whole=True)
            assert (pictures / f"{name}.png").stat().st_size > 20_000
        await assert_quiet(browser)
    finally:
        await scene.stop()


@over_sockets(60)
@pytest.mark.parametrize("dark", [False, True])
async def test_contrast(browser: Browser, dark: bool) -> None:
    """Every word can be read, in light and in dark mode: contrasts are at least 4.5."""
    scene = Scene(real_reactor(), past=1260.0)
    try:
        await looking(browser, scene, dark=dark)
        *least, (count, _) = await in_thread(browser.run, CONTRAST)
        assert count > 200
        assert [each for each in least if each[0] < 4.5] == []
        background = await in_thread(browser.run, "return getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(12, 15, 21)") is dark
    finally:
        await scene.stop()


@over_sockets(60)
async def test_nothing_to_see_yet(browser: Browser, pictures: Path) -> None:
    """Without peers it says so, and leaves out the parts that nobody has."""
    scene = Scene(real_reactor(), remotes=False)
    try:
        await looking(browser, scene, 390, 844)
        text = await in_thread(browser.run, "return document.body.innerText")
        for words in ("No peers yet", "None yet.", "None has ended yet.", "watcher 1.4.0", "mainnet"):
            assert words in text
        seen = "return [...document.querySelectorAll('table, .parts')].filter(e => e.checkVisibility()).length"
        assert await in_thread(browser.run, seen) == 0
        await in_thread(browser.shoot, pictures / "empty-phone.png")
        await assert_quiet(browser)
    finally:
        await scene.stop()


@over_sockets(60)
async def test_lost_and_found(browser: Browser, pictures: Path) -> None:
    """When the node goes it says that it is reconnecting, and goes on by itself when the node is there again."""
    scene = Scene(real_reactor(), past=100.0)
    try:
        await looking(browser, scene)
        port = int(scene.url.rstrip("/").rpartition(":")[2])
    finally:
        await scene.stop()
    await in_thread(browser.wait, "return document.body.dataset.link === 'lost'")
    text = await in_thread(browser.run, "return document.body.innerText")
    assert "Connection lost. Reconnecting…" in text
    assert "soterd 4.2.0" in text
    await in_thread(browser.shoot, pictures / "lost-desktop.png")
    other = Scene(real_reactor(), remotes=False, port=port)
    try:
        other.start()
        await in_thread(browser.wait, LIVE)
        await in_thread(browser.wait, f"{PEERS}.length === 0")
        assert "Reconnecting" not in await in_thread(browser.run, "return document.body.innerText")
    finally:
        await other.stop()
        await in_thread(browser.complaints)


@over_sockets(60)
async def test_a_page_that_nobody_sees_asks_no_more(browser: Browser) -> None:
    """A tab in the background is let go after a minute (a second here), and comes back when it is seen."""
    faster = "const slow = window.setTimeout; window.setTimeout = (do_, ms) => slow(do_, ms / 60);"
    script = await in_thread(browser.command, "Page.addScriptToEvaluateOnNewDocument", source=faster)
    scene = Scene(real_reactor(), remotes=False)
    hide = (
        "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    try:
        await looking(browser, scene)
        assert scene.status.lookers == 1
        await in_thread(browser.run, hide, True)
        await in_thread(browser.wait, "return performance.now() > (window.until ??= performance.now() + 2000)")
        assert scene.status.lookers == 0
        await in_thread(browser.run, hide, False)
        await in_thread(browser.wait, f"{PEERS}.length === 0")
        assert scene.status.lookers == 1
    finally:
        await in_thread(browser.command, "Page.removeScriptToEvaluateOnNewDocument", **script)
        await scene.stop()


@over_sockets(60)
async def test_sorting_and_structure(browser: Browser) -> None:
    """Columns sort by keyboard too; landmarks, headings and table headers say what is what to who cannot see."""
    scene = Scene(real_reactor(), past=900.0)
    try:
        await looking(browser, scene)
        heights = "return [...document.querySelectorAll('#peer-rows [data-f=received]')].map(e => e.textContent)"
        press = "document.querySelector('[data-sort=bytes_received] button').click();"
        sort = "return document.querySelector('[data-sort=bytes_received]').getAttribute('aria-sort')"
        await in_thread(browser.run, press)
        assert await in_thread(browser.run, sort) == "descending"
        down = [_size(text) for text in await in_thread(browser.run, heights)]
        assert down == sorted(down, reverse=True)
        await in_thread(browser.run, press)
        assert await in_thread(browser.run, sort) == "ascending"
        up = [_size(text) for text in await in_thread(browser.run, heights)]
        assert up == sorted(up)
        assert len(up) > 8
        await in_thread(browser.run, press)
        assert await in_thread(browser.run, sort) is None
        structure = await in_thread(
            browser.run,
            "return ['header', 'main', 'footer', 'h1', '[role=status]', 'html[lang=en]', 'meta[name=viewport]']"
            ".map(each => document.querySelectorAll(each).length)",
        )
        assert structure == [1, 1, 1, 1, 2, 1, 1]
        unnamed = (
            "return [...document.querySelectorAll('table, section')].filter(e => !e.getAttribute('aria-labelledby'))"
        )
        assert await in_thread(browser.run, f"{unnamed}.length") == 0
        headers = "return [...document.querySelectorAll('thead th, tbody th')].filter(e => !e.scope).length"
        assert await in_thread(browser.run, headers) == 0
    finally:
        await scene.stop()


def _size(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"B": 1, "kB": 1e3, "MB": 1e6}[unit]
