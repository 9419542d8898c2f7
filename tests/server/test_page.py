"""The control room: all files are served, nothing is loaded from other hosts, text of the log is never markup."""

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from http.client import HTTPConnection
from pathlib import Path

import pytest

from consumers.server.http.page import FILES, POLICY
from consumers.server.service import Service
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.events.generation import Act
from pipeline.recommend.ab_test import Interval
from pipeline.streams.topics import DEAD_LETTERS, EDITS, ITEMS, OUTCOMES, STATISTICS
from tests.server.browser import Tab, tab
from tests.server.test_activity_view import REASON, VALIDATION, interval, letter
from tests.server.test_succession import Successors, act, prepare
from tests.server.world import TOKEN, A, Server, World, eventually, serving, the_setup

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "consumers/server/dashboard"
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))


def fetched(server: Server, path: str) -> tuple[int, dict[str, str], str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode()
    connection.close()
    return found


def test_every_file_is_served_under_a_strict_policy(server: Server) -> None:
    for path, name in [("/", "index.html"), *((f"/page/{name}", name) for name in FILES)]:
        status, headers, text = fetched(server, path)
        assert (status, text) == (200, (PAGE / name).read_text())
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        kind = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
        assert headers["content-type"].startswith(kind[name.rpartition(".")[2]])
    assert "default-src 'none'" in POLICY and "unsafe" not in POLICY and "*" not in POLICY


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2Fservice.py", "%2e%2e/service.py", "..", "index.html%00", "x" * 200]
)
def test_nothing_else_is_served(server: Server, name: str) -> None:
    assert fetched(server, f"/page/{name}")[0] in (404, 422)


def test_the_files_are_packaged() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["consumers"]
    there = [file.relative_to(ROOT / "consumers").as_posix() for file in PAGE.iterdir()]
    assert len(there) == len(FILES) > 8
    assert [name for name in there if not any(fnmatch(name, pattern) for pattern in patterns)] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_markup_of_text(name: str) -> None:
    text = FILES[name].decode()
    ways = ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "DOMParser", "srcdoc")
    assert [way for way in ways if way in text] == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_loaded_from_another_host(name: str) -> None:
    urls = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", FILES[name].decode())
    assert [url for url in urls if not url.endswith("//www.w3.org/2000/svg")] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_names_is_there(name: str) -> None:
    text, page = FILES[name].decode(), FILES["index.html"].decode()
    assert [file for file in re.findall(r'(?:from|import) "\./([^"]+)"', text) if file not in FILES] == []
    ids = re.findall(r'(?:\bat|getElementById)\("([^"]+)"\)', text)
    assert [one for one in ids if f'id="{one}"' not in page] == []


def test_the_page_has_no_inline_script_or_style() -> None:
    page = FILES["index.html"].decode()
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page) == []
    assert all(f'for="{one}"' in page or f'"{one}"' in page for one in re.findall(r'aria-labelledby="([^"]+)"', page))


# --- in a browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def full(world: World) -> World:
    """A world with statistics, an edit and a dead letter, and markup in every text."""
    for i in range(1, 9):
        world.send(STATISTICS, interval(200 * i, r1=100, r2=40, r3=30, r4=20, r5=10), "")
    windows = tuple(Evidence(f"e{i}", i, A) for i in range(5))
    reason = {**REASON, "text": HOSTILE}
    asked = Edit("x" * 24, Operation.UPDATE, A, None, 1, 1, reason, windows, (), 900, 1.6e9, 7)
    outcome = Outcome("x" * 24, Operation.UPDATE, A, True, "it is better", "r0004_v0002", VALIDATION, 480)
    world.send(EDITS, asked.to_record(), str(A))
    world.send(OUTCOMES, outcome.to_record(), asked.edit_id)
    world.send(DEAD_LETTERS, letter(3, HOSTILE), "bad_value")
    with world.producer.transaction() as transaction:
        # The items of A's users keep their texts, and so their region.
        for item_id in the_setup().catalogue.item_ids[20:]:
            transaction.send(ITEMS, {"text": HOSTILE}, key=item_id, timestamp=1.6e9)
    world.update(A, seed=3)
    return world


def drawn(browser: Tab, server: Server, fragment: str = "", **how: object) -> None:
    browser.open(f"http://127.0.0.1:{server.port}/{fragment}", **how)  # type: ignore[arg-type]
    if server.token:
        browser.shows("document.querySelector('#sign-in')?.open")
        sign_in(browser, server.token)
    browser.shows("document.querySelectorAll('.course .line').length >= 2 && document.querySelector('#stages tbody')")


def sign_in(browser: Tab, token: str) -> None:
    fields = f"f.elements.token.value = {token!r}; f.requestSubmit()"
    browser.run(f"(() => {{ const f = document.querySelector('#sign-in-form'); {fields} }})()")
    # The browser notes the answer by which the server asks for a token.
    browser.complaints[:] = [one for one in browser.complaints if "401" not in one]


def text_of(browser: Tab, selector: str) -> str:
    found: str = browser.run(f"document.querySelector({selector!r}).innerText")
    return found


def test_it_shows_regions_edits_versions_lag_and_dead_letters(full: World, browser: Tab) -> None:
    with serving(full) as server:
        drawn(browser, server, f"#edit={'x' * 24}")
        browser.shows("document.querySelector('.explanation')?.textContent.includes('windows: 5, from event e0 to e4')")
        assert browser.run("document.querySelectorAll('#map .region').length") == 5
        assert "5, 2 opened" in text_of(browser, "#facts")
        assert "Region 4" in text_of(browser, "#course") and "loss 2.50 of 13.80" in text_of(browser, "#course")
        assert "0.2500 ± 0.1000" in text_of(browser, "#edits")
        assert "r0004_v0002" in text_of(browser, "#adapters")
        assert browser.run("[...document.querySelectorAll('#stages tbody th')].map(e => e.textContent)") == [
            "gate",
            "monitor",
            "trainer",
        ]
        known = len(the_setup().catalogue)
        numbers = browser.run("[...document.querySelectorAll('#items td')].map(e => e.textContent)")
        assert numbers == [str(known), str(known), "0", "0"]
        assert "interactions/1, offset 3" in text_of(browser, "#letters")
        assert browser.complaints == []


def test_it_shows_how_long_a_revision_took_to_be_served(full: World, browser: Tab) -> None:
    with serving(full) as server:
        drawn(browser, server)
        browser.shows("document.querySelector('#freshness').textContent.includes('Nothing was measured yet')")
        full.update(A, seed=5)
        browser.shows("document.querySelector('#freshness tbody th')?.textContent === 'served'")
        assert browser.run("[...document.querySelectorAll('#freshness td')].at(-1).textContent") == "1"
        assert browser.complaints == []


def test_it_shows_a_split_of_the_users_while_there_is_one(full: World, browser: Tab) -> None:
    prepare(full)
    with serving(full, succeeds=Successors(full)) as server:
        drawn(browser, server)
        assert browser.run("document.querySelector('#split').hidden") is True
        act(full, Act.SPLIT, 2, share=0.25)
        browser.shows("!document.querySelector('#split').hidden")
        rows = "[...document.querySelectorAll('#split tbody tr')].map(e => e.innerText.replaceAll('\\t', ' '))"
        assert browser.run(rows) == ["generation 2 25.0% 0 0 –", "generation 1 75.0% 0 0 –"]
        assert "Too few answers" in text_of(browser, "#split-outcome")
        act(full, Act.SPLIT, 2, share=0)
        browser.shows("document.querySelector('#split').hidden")
        assert browser.complaints == []


def test_text_from_the_log_stays_text(full: World, browser: Tab) -> None:
    with serving(full) as server:
        drawn(browser, server, f"#user=a0&edit={'x' * 24}")
        for place in ("#ask .items", "#edits .why", ".explanation"):
            browser.shows(f"document.querySelector({place!r})?.textContent.includes('<img src=x')")
        assert browser.run("document.querySelectorAll('img, main script').length") == 0
        assert browser.run("document.title") == "RAIE control room"
        assert browser.complaints == []


def test_markup_from_a_script_would_be_refused(full: World, browser: Tab) -> None:
    with serving(full) as server:
        drawn(browser, server)
        refused = "(() => { try { document.body.innerHTML = '<b>'; return false } catch { return true } })()"
        assert browser.run(refused) is True


def test_a_user_is_tried_and_an_error_is_said(full: World, browser: Tab) -> None:
    ask = "document.querySelector('#ask-form').requestSubmit()"
    with serving(full) as server:
        drawn(browser, server, "#user=a0")
        browser.shows("document.querySelectorAll('#ask .items li').length === 10")
        answer = text_of(browser, "#ask .answer")
        assert all(word in answer for word in ("region 4", "an adapter", "r0004_v0002", "confidence"))
        browser.run("document.querySelector('[name=user]').value = '<b>nobody</b>'")
        browser.run(ask)
        browser.shows("document.querySelector('#ask .answer').innerText.includes('this user is unknown')")
        browser.run("document.querySelector('[name=revision]').value = '99'")
        browser.run(ask)
        browser.shows(
            "document.querySelector('#ask [role=alert]')?.textContent.includes('revision 99 is not there yet')"
        )
        for text, says in (('{"brand"', "the filter is no JSON object"), ('{"brand": 1}', "no item has an attribute")):
            browser.run("document.querySelector('[name=revision]').value = ''")
            browser.run(f"document.querySelector('[name=filter]').value = {text!r}")
            browser.run(ask)
            browser.shows(f"document.querySelector('#ask [role=alert]')?.textContent.includes({says!r})")


def test_a_version_on_trial_is_shown_with_the_interval_of_its_clicks(
    full: World, browser: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Interval | None] = [None]
    monkeypatch.setattr(Service, "click_difference", lambda *_: found[0])
    name, _ = full.update(A, seed=7, canary=0.4)
    with serving(full) as server:
        eventually(lambda: A in server.service.live.view.canaries)
        for found[0], clicks in (
            (None, "too few clicks yet for an interval"),
            (Interval(0.012, -0.0041, 0.0281), "clicks +1.2 points (−0.4 to +2.8)"),
        ):
            drawn(browser, server)
            says = f"{name} on trial with 40% of users: {clicks}"
            browser.shows(f"document.querySelector('#adapters').innerText.includes({says!r})")


def test_a_rollback_needs_the_token_and_is_shown(full: World, browser: Tab) -> None:
    def submit(token: str) -> None:
        fields = f"f.elements.by.value = 'ann'; f.elements.token.value = {token!r}; f.requestSubmit()"
        browser.run(f"(() => {{ const f = document.querySelector('#rollback-form'); {fields} }})()")

    with serving(full) as server:
        drawn(browser, server)
        browser.shows("document.querySelector('[aria-label=\"Roll region 4 back to r0004_v0001\"]')")
        browser.run("document.querySelector('[aria-label=\"Roll region 4 back to r0004_v0001\"]').click()")
        submit("wrong")
        browser.shows("document.querySelector('#rollback-problem').textContent.includes('needs a token')")
        assert server.service.live.view.revision == 1
        submit(TOKEN)
        eventually(lambda: server.service.live.view.revision == 2)
        browser.shows("document.querySelector('tr.live th')?.textContent === 'r0004_v0001'")
        assert browser.run("document.querySelector('#rollback').open") is False
        assert browser.run("document.querySelector('#rollback-form').elements.token.value") == ""


def test_the_page_asks_for_a_token_and_keeps_it_in_its_memory(full: World, browser: Tab) -> None:
    with serving(full) as server:
        browser.open(f"http://127.0.0.1:{server.port}/#user=a0")
        browser.shows("document.querySelector('#sign-in')?.open")
        assert browser.run("document.querySelectorAll('#map .region').length") == 0
        sign_in(browser, "wrong")
        browser.shows("document.querySelector('#sign-in-problem').textContent.includes('needs a token')")
        sign_in(browser, TOKEN)
        browser.shows("document.querySelectorAll('#ask .items li').length === 10")
        assert browser.run("document.querySelector('#sign-in').open") is False
        kept = "location.href + document.cookie + JSON.stringify({...localStorage, ...sessionStorage})"
        whole = "document.documentElement.outerHTML + [...document.querySelectorAll('input')].map(i => i.value)"
        assert TOKEN not in browser.run(f"{kept} + {whole}")
        browser.run("location.reload()")
        browser.shows("document.querySelector('#sign-in')?.open")


def test_without_a_token_there_is_no_button(full: World, browser: Tab) -> None:
    with serving(full, token=None) as server:
        drawn(browser, server)
        browser.shows("document.querySelector('#adapters-note').textContent.includes('Rollback is off')")
        assert browser.run("document.querySelectorAll('#adapters table button.quiet').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_either_scheme(full: World, browser: Tab, scheme: str) -> None:
    with serving(full) as server:
        drawn(browser, server, f"#user=a0&edit={'x' * 24}", width=360, height=740, scheme=scheme)
        browser.shows("document.querySelectorAll('#ask .items li').length === 10")
        assert browser.run("document.documentElement.scrollWidth") == 360
        assert browser.run("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")
        paper = browser.run("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(22, 22, 20)" if scheme == "dark" else "rgb(253, 252, 250)")
        browser.run("document.querySelector('#theme').click()")
        assert browser.run("getComputedStyle(document.body).backgroundColor") != paper
        browser.run("localStorage.clear()")


def test_it_asks_nothing_while_nobody_looks(full: World, browser: Tab) -> None:
    hide = "Object.defineProperty(document, 'hidden', {{ value: {}, configurable: true }})"
    tell = "document.dispatchEvent(new Event('visibilitychange'))"
    asked = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('/status')).length"
    with serving(full) as server:
        drawn(browser, server)
        browser.run(hide.format("true"))
        browser.run(tell)
        assert "paused" in text_of(browser, "#live")
        before = browser.run(asked)
        browser.run("new Promise(done => setTimeout(done, 4500))")
        assert browser.run(asked) <= before + 1
        browser.run(hide.format("false"))
        browser.run(tell)
        browser.shows(f"{asked} > {before} && document.querySelector('#live').dataset.kind === 'live'")


def test_keys_do_what_the_mouse_does(full: World, browser: Tab) -> None:
    with serving(full) as server:
        drawn(browser, server)
        press = "dispatchEvent(new KeyboardEvent('keydown', {{ key: '{}', bubbles: true, cancelable: true }}))"
        browser.run(f"document.querySelector('[data-region=\"4\"]').{press.format('Enter')}")
        browser.shows("document.querySelector('[data-region=\"4\"]').getAttribute('aria-pressed') === 'true'")
        assert browser.run("location.hash") == "#region=4"
        browser.run(f"document.querySelector('svg.drift').{press.format('ArrowLeft')}")
        browser.run(f"document.querySelector('svg.drift').{press.format('ArrowLeft')}")
        browser.shows("document.querySelector('.course .values').textContent.startsWith('event 1,400')")


def test_every_control_has_a_name_and_every_picture_a_text(full: World, browser: Tab) -> None:
    nameless = """[...document.querySelectorAll('button, input, [role=button], [role=img], [role=region]')].filter(e =>
        !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"""
    with serving(full) as server:
        drawn(browser, server, f"#edit={'x' * 24}")
        assert browser.run(nameless) == []


def test_a_server_that_went_is_said(full: World, browser: Tab) -> None:
    with serving(full) as server:
        drawn(browser, server)
    browser.shows("document.querySelector('#live').textContent.includes('cannot be reached')")
