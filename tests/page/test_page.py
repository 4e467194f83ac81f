"""The live page in a real browser, before a real gateway under real calls."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from invoke_gateway import __version__
from invoke_gateway.admin.live.episodes import QUIET_SAMPLES
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from tests.page.browser import Watched, watched_page
from tests.page.traffic import Shop, shop
from tests.support.lateness import judge
from tests.support.processes import LOOPBACK, RunningProcess, bare_environment, fetch_json, free_port, running
from tests.support.sockets import Gateway, Wire, calls_under_way, gateway, invoke, refusal_of
from tests.support.stores import Store, running_store

Open = Callable[..., Watched]

RESERVED = {"default": {"concurrent_executions": 10, "functions": {"hold-a": {"reserved_concurrent_executions": 2}}}}
RESERVED_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
SIGNED = "X-Amz-Date: x\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/d/r/lambda/aws4_request"
MARKUP = "<img src=x onerror=\"document.title='taken over'\"><b>bold</b>"


@pytest.fixture
def served() -> Iterator[Gateway]:
    """A gateway with ten slots, two of them for `hold-a`; calls of `hold…` run until they are released."""
    with gateway(accounts=RESERVED) as started:
        yield started


@pytest.fixture(scope="module")
def busy_shop() -> Iterator[Shop]:
    with shop(faults=True) as started, started.busy():
        started.hold(function="report-monthly", slots=2, seconds=600)
        yield started


def row(page: Page, name: str):
    return page.locator("tr.row").filter(has=page.get_by_role("button", name=name, exact=True))


def names(page: Page) -> list[str]:
    return page.locator("tr.row .opens").all_inner_texts()


def has_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def contrasts(page: Page) -> dict[str, float]:
    """By selector, the least contrast between a text's colour and the first background behind it (WCAG 2)."""
    return page.evaluate(
        """() => {
          const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
          const light = colour => {
            const [r, g, b] = numbers(colour).map(c => c / 255)
              .map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b;
          };
          const behind = e => {
            for (; e; e = e.parentElement) {
              const colour = getComputedStyle(e).backgroundColor, alpha = numbers(colour)[3];
              if (alpha === undefined || alpha === 1) return colour;
            }
            return "rgb(255, 255, 255)";
          };
          const found = {};
          for (const e of document.querySelectorAll("body *")) {
            const has = [...e.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
            if (!has || !e.checkVisibility() || e.closest("script, noscript, .sr")) continue;
            const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
            const name = e.tagName.toLowerCase() + "." + e.className, ratio = (a + .05) / (b + .05);
            found[name] = Math.min(found[name] ?? 99, ratio);
          }
          return found;
        }"""
    )


def test_a_call_shows_while_it_runs_and_is_gone_afterwards(served: Gateway, open_page: Open) -> None:
    page = open_page(served).page
    expect(row(page, "hold-a").locator(".numbers")).to_have_text("0 / 2")
    with calls_under_way(served, "hold-a", "hold-b"):
        expect(row(page, "hold-a").locator(".numbers")).to_have_text("1 / 2")
        expect(row(page, "hold-b").locator(".numbers")).to_have_text("1 / 8")
        expect(page.locator(".account .in-flight")).to_have_text("2 of 10 in flight")
        expect(page.locator(".account .claimed")).to_contain_text("3 claimed")
    expect(row(page, "hold-a").locator(".numbers")).to_have_text("0 / 2")
    expect(page.locator(".account .in-flight")).to_have_text("0 of 10 in flight")
    expect(row(page, "hold-a").locator(".c-rate").first).to_have_text(re.compile(r"^[\d.<]+$"))
    expect(row(page, "hold-a").locator(".c-time").first).to_have_text(re.compile(r"^(<1|\d+) ms$|^[\d.]+ s$"))


def test_a_refusal_shows_at_once_in_words_who_is_throttled_and_why(served: Gateway, open_page: Open) -> None:
    page = open_page(served).page
    expect(page.locator("#headline")).to_have_text("Nothing is refused")
    expect(page.get_by_text("Nothing has been refused.")).to_be_visible()
    with calls_under_way(served, "hold-a", "hold-a"):
        for _ in range(3):
            assert refusal_of(served.send(invoke("hold-a", b"{}", SIGNED)))[0] == 429
        expect(page.locator("#headline")).to_have_text(
            re.compile(r"^Throttling now: hold-a [\d.]+/s, reservation full$")
        )
        expect(page.locator("#headline")).to_have_attribute("title", RESERVED_REASON)
        expect(page.locator("#announce")).to_have_text("Throttling now. hold-a, reservation full")
        refused = page.locator("#refusals li")
        expect(refused).to_have_count(1)
        expect(refused).to_contain_text(re.compile(r"hold-a×3 in \d s"))
        expect(refused).to_contain_text("2 of 2 in use, used by hold-a 2")
        expect(refused).to_contain_text("caller AKIAEXAMPLE")
        expect(refused.locator(".chip")).to_have_attribute("title", RESERVED_REASON)
        expect(row(page, "hold-a").locator(".numbers")).to_have_text("2 / 2 full")
        expect(row(page, "hold-a").locator(".throttles .chip")).to_have_text("reservation full 3")
        expect(row(page, "hold-a").locator(".throttles .chip")).to_have_attribute("title", RESERVED_REASON)
        expect(row(page, "hold-a").locator(".refused b")).to_have_text(re.compile(r"^[\d.]+/s$"))
        expect(row(page, "hold-a").locator(".c-oldest")).to_have_text(re.compile(r"\d\.\d s"))
    served.on_loop(lambda: [served.server.gateway.admin.samples.episodes.sample() for _ in range(QUIET_SAMPLES + 1)])
    expect(page.locator("#headline")).to_have_text("Nothing is refused")
    expect(page.locator("#refusals li")).to_contain_text("last at")


def test_the_pool_and_a_reservation_of_zero_have_words_of_their_own(open_page: Open) -> None:
    functions = {"hold-a": {}, "off": {"reserved_concurrent_executions": 0}}
    with gateway(accounts={"default": {"concurrent_executions": 1, "functions": functions}}) as served:
        page = open_page(served).page
        with calls_under_way(served, "hold-a"):
            assert refusal_of(served.send(invoke("hold-a")))[0] == 429
            assert refusal_of(served.send(invoke("off")))[0] == 429
            assert refusal_of(served.send(invoke("nobody-configured-me")))[0] == 429
            said = page.locator("#verdict")
            expect(said).to_contain_text(re.compile(r"hold-a [\d.]+/s, pool full"))
            expect(said).to_contain_text(re.compile(r"off [\d.]+/s, off \(reservation 0\)"))
            expect(said).to_contain_text(re.compile(r"(functions without metrics|and others) [\d.]+/s, pool full"))
            expect(row(page, "off").locator(".where")).to_have_text("off (reservation 0)")
            expect(page.locator(".account .chip")).to_have_text("pool full")


@pytest.mark.parametrize("width", [375, 1280])
def test_each_row_shows_who_set_its_ceiling(open_page: Open, width: int) -> None:
    functions = {"hold-a": {"reserved_concurrent_executions": 2}, "hold-b": {}, "hold-c": {}}
    accounts = {"default": {"concurrent_executions": 20, "unreserved_floor": 0, "functions": functions}}
    with gateway(accounts=accounts, control={"check_existence": False}) as served:
        page = open_page(served, width=width).page
        path = "/2017-10-31/functions/hold-c/concurrency"
        served.send(invoke(path=path, body=b'{"ReservedConcurrentExecutions": 3}', method="PUT"))
        for name, set_by in (("hold-a", "file"), ("hold-b", "default"), ("hold-c", "API")):
            cell = row(page, name).locator(".c-set")
            expect(cell).to_have_text(set_by)
            # A narrow screen has no heads, and leaves the usual out.
            assert cell.is_visible() is (width == 1280 or set_by != "default")
        shown = row(page, "hold-c").locator(".c-set").evaluate("each => getComputedStyle(each, '::before').content")
        assert ("set by" in shown) is (width == 375)
        assert not has_sideways_scroll(page)


def test_the_head_line_has_the_gateway_and_what_is_degraded(served: Gateway, open_page: Open) -> None:
    application = served.server.gateway
    page = open_page(served).page
    facts = page.locator("#facts")
    expect(facts).to_contain_text(f"Version{__version__}")
    expect(facts).to_contain_text(re.compile(r"Backendhttp://127\.0\.0\.1:\d+, (up|unknown)"))
    expect(facts).to_contain_text(re.compile(r"Uptime\d+ s"))
    expect(page.locator("#problems")).to_be_hidden()
    served.on_loop(lambda: application.degraded.update(restart_needed=True, something_new=True))
    expect(page.locator("#problems li")).to_have_text(
        [
            re.compile(r"^The settings file has changes .* Restart the gateway"),
            re.compile(r"^The gateway is degraded\."),
        ]
    )
    expect(page.locator("#verdict")).to_have_attribute("data-state", "degraded")


def test_a_settings_file_that_was_refused_is_shown(served: Gateway, open_page: Open) -> None:
    page = open_page(served).page
    error = {"at": 1_795_315_920.4, "problem": "gw.yaml:3: no <b>", "problems": 3, "in_force_since": 1_795_310_000.1}
    served.on_loop(lambda: setattr(served.server.gateway.admin.live_stream._view, "_settings_error", lambda: error))
    shown = page.locator("#problems li")
    expect(shown).to_contain_text(
        re.compile(r"^Settings file refused at .*: gw\.yaml:3: no <b> \(and 2 more\)\. The settings")
    )


def test_a_function_opened_shows_who_holds_its_slots_and_commands_to_copy(served: Gateway, browser: Browser) -> None:
    with watched_page(browser, permissions=["clipboard-read", "clipboard-write"]) as watched:
        page = watched.page
        page.goto(f"http://{served.server.admin}/")
        with calls_under_way(served, "hold-a"):
            row(page, "hold-a").get_by_role("button").click()
            held = page.get_by_role("table", name="Slots of hold-a").get_by_role("row")
            expect(held).to_have_count(2)
            expect(held.nth(1)).to_contain_text(re.compile(r"[0-9a-f-]{36}unsigned.*\d\.\d s"))
            page.get_by_role("button", name="Copy: Hold its free slots").click()
            expect(page.get_by_text("Copied")).to_be_visible()
            command = page.evaluate("navigator.clipboard.readText()")
            assert command == f"invoke-gateway hold hold-a --slots 1 --seconds 30 --admin {served.server.admin}"
        expect(page.get_by_text("No call holds a slot of this function now.")).to_be_visible()
        assert watched.complaints == []


def test_what_is_claimed_is_explained_behind_a_question_mark(served: Gateway, open_page: Open) -> None:
    page = open_page(served).page
    text = page.get_by_text("ClaimedAccountConcurrency")
    expect(text).to_be_hidden()
    page.get_by_role("button", name="What is claimed?").click()
    expect(text).to_be_visible()


def test_an_account_is_one_line_that_opens(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    account = page.get_by_role("article", name="Account 111122223333")
    expect(account.locator(".legend")).to_be_hidden()
    account.get_by_role("button", name="111122223333").click()
    expect(account.locator(".legend")).to_contain_text("reserved, in use")
    expect(account.get_by_role("button", name="111122223333")).to_have_attribute("aria-expanded", "true")


def test_the_callers_that_have_a_limit_are_among_the_details_of_their_account(open_page: Open) -> None:
    callers = {"AKIAALICE": {"concurrent_executions": 1}, "AKIABOB": {"concurrent_executions": 0}}
    with gateway(callers=callers) as limited:
        page = open_page(limited).page
        page.locator("#accounts button.opens").click()
        expect(page.locator(".callers li")).to_have_text(["AKIAALICE 0 / 1", "AKIABOB 0 / 0 off"])
        with Wire(limited.port) as wire:
            credential = "AKIAALICE/20250101/us-east-1/lambda/aws4_request"
            wire.send(invoke("hold-it", b"{}", f"Authorization: AWS4-HMAC-SHA256 Credential={credential}"))
            expect(page.locator(".callers li").first).to_have_text("AKIAALICE 1 / 1 full")
            limited.release()
            assert wire.answer().status == 200


def test_events_that_wait_are_shown_by_function(open_page: Open) -> None:
    functions = {"hold-a": {"reserved_concurrent_executions": 1}}
    with gateway(accounts={"default": {"concurrent_executions": 10, "functions": functions}}) as served:
        page = open_page(served).page
        expect(page.locator("#queue-counts")).to_contain_text("waiting0")
        with calls_under_way(served, "hold-a"):
            for _ in range(3):
                assert served.send(invoke("hold-a", b"{}", "X-Amz-Invocation-Type: Event")).status == 202
            expect(page.locator("#queue-counts")).to_contain_text("waiting3")
            line = page.locator("#queue-rows tr")
            expect(line).to_contain_text(re.compile(r"^hold-a3––\d+ s$"))


def test_holds_and_fault_scripts_that_are_on_are_shown(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    shown = page.locator("#deliberate-list")
    expect(shown).to_contain_text(re.compile(r"Hold \d+: 2 slots of report-monthly, \d+ (s|min) left"))
    busy_shop.add_script(function="refund", steps=[{"pass": 2}, {"error": "ServiceException", "repeat": 3}])
    expect(shown).to_contain_text(
        "refund, step 1 of 2. Next: 2 calls pass; ServiceException ×3. 0 calls so far, 0 injected"
    )


def test_the_sparklines_have_the_ceiling_as_their_top_and_a_range_of_five_minutes_or_an_hour(
    busy_shop: Shop, open_page: Open
) -> None:
    page = open_page(busy_shop).page
    spark = row(page, "report-monthly").locator(".spark")  # whose slots are all in use, half of them by a hold
    expect(spark).to_have_attribute("aria-label", "Highest of the last 5 minutes: 4 of 4")
    expect(spark.locator(".line")).to_have_attribute("d", re.compile(r"^M\d+ 0\.8L"))
    widths = page.eval_on_selector_all("tr.row .spark", "all => all.map(each => each.getBoundingClientRect().width)")
    assert len(set(widths)) == 1
    page.get_by_role("button", name="1 h").click()
    expect(page.locator("#past")).to_have_text("Last hour")
    expect(spark).to_have_attribute("aria-label", "Highest of the last 60 minutes: 4 of 4")
    assert page.url.endswith("/?minutes=60")
    page.reload()
    expect(page.get_by_role("button", name="1 h")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#past")).to_have_text("Last hour")


def test_a_hold_is_marked_as_one(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    expect(row(page, "report-monthly").locator(".chip.hold")).to_have_text("2 held on purpose")


def test_the_bar_shows_reserved_used_and_claimed_in_their_proportions(served: Gateway, open_page: Open) -> None:
    page = open_page(served, reduced_motion="reduce").page
    with calls_under_way(served, "hold-a", "hold-b", "hold-c", "hold-d"):
        expect(page.locator(".account .claimed")).to_contain_text("5 claimed")
        widths = page.eval_on_selector_all(".account .bar i", "all => all.map(each => each.style.width)")
        assert widths == ["10%", "0%", "0%", "10%", "30%", "0%", "0%"]
        assert page.locator(".account .edge u").evaluate("each => each.style.width") == "50%"


@contextmanager
def two_sharing() -> Iterator[tuple[Store, Gateway, Gateway]]:
    """Two gateways such as `served`, which share their counters."""
    with running_store("valkey") as store:
        store.clear("000000000000")
        shared = {"accounts": RESERVED, "counters": store.url, "shared": {"lease_seconds": 4}}
        with gateway(**shared) as one, gateway(**shared) as other:
            yield store, one, other


def test_of_shared_counters_it_shows_the_calls_of_all_gateways_and_this_ones_part(open_page: Open) -> None:
    with two_sharing() as (_, one, other):
        page = open_page(one, reduced_motion="reduce").page
        expect(page.locator("#sharing")).to_contain_text("2 gateways share these counters.")
        expect(page.locator("#sharing")).to_contain_text(one.server.gateway.shared.gateway)
        with (
            calls_under_way(one, "hold-a", "hold-b"),
            calls_under_way(other, "hold-a", "hold-c", "hold-c"),
        ):
            expect(page.locator(".account .in-flight")).to_have_text("5 of 10 in flight, 2 here")
            expect(row(page, "hold-a").locator(".numbers")).to_have_text("2 / 2 full")
            expect(row(page, "hold-a").locator(".where")).to_have_text("reserved · 1 here")
            expect(row(page, "hold-c").locator(".where")).to_have_text("shared pool · 0 here")
            expect(row(page, "hold-c").locator(".c-oldest")).to_have_text("")
            widths = page.eval_on_selector_all(".account .bar i", "all => all.map(each => each.style.width)")
            assert widths == ["10%", "10%", "0%", "0%", "10%", "20%", "0%"]
            of_row = row(page, "hold-a").locator(".bar i")
            assert [each.evaluate("each => each.style.width") for each in of_row.all()] == ["50%", "50%", "0%"]
            assert min(contrasts(page).values()) >= 4.5
            page.set_viewport_size({"width": 375, "height": 800})
            assert not has_sideways_scroll(page)
        expect(page.locator(".account .in-flight")).to_have_text("0 of 10 in flight, 0 here")


def test_of_shared_counters_that_nobody_else_shares_it_says_so(open_page: Open) -> None:
    with running_store("valkey") as store:
        store.clear("000000000000")
        with gateway(accounts=RESERVED, counters=store.url) as alone:
            page = open_page(alone).page
            expect(page.locator("#sharing")).to_contain_text("No other gateway shares these counters now.")


def test_of_shared_counters_it_says_what_is_wrong_with_the_store(open_page: Open) -> None:
    with two_sharing() as (store, one, _):
        page = open_page(one).page
        expect(page.locator("#sharing")).to_be_visible()
        expect(page.locator("#trouble")).to_be_hidden()
        assert one.fetch("/limits").json["shared"]["sums_age_seconds"] is not None, "else nothing has an age"
        store.kill()
        expect(page.locator("#trouble")).to_contain_text("The shared counters are unavailable")
        expect(page.locator("#trouble")).to_contain_text("What other gateways run was so")


def test_of_counters_in_memory_it_says_nothing_of_other_gateways(served: Gateway, open_page: Open) -> None:
    page = open_page(served).page
    with calls_under_way(served, "hold-a"):
        expect(row(page, "hold-a").locator(".where")).to_have_text("reserved")
        expect(page.locator("#sharing")).to_be_hidden()
        expect(page.locator("#trouble")).to_be_hidden()
        expect(page.get_by_text("other gateways")).to_be_hidden()


def test_it_asks_nobody_but_its_gateway(busy_shop: Shop, open_page: Open) -> None:
    watched = open_page(busy_shop)
    expect(row(watched.page, "checkout")).to_be_visible()
    assert {urlsplit(url).netloc for url in watched.asked if not url.startswith("data:")} == {
        str(busy_shop.server.admin)
    }
    assert {urlsplit(url).path for url in watched.asked if not url.startswith("data:")} == {"/", "/live"}


def test_under_load_it_keeps_changing_and_a_sparkline_grows(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    cell = row(page, "migrate-legacy").locator(".throttles .chip")  # whose every call is refused
    expect(cell).to_have_text(re.compile(r"off \(reservation 0\) \d+"))
    before = cell.inner_text()
    expect(cell).not_to_have_text(before)
    expect(row(page, "checkout").locator(".spark .line")).to_have_attribute("d", re.compile(r"^M\d+ [\d.]+L"))
    expect(row(page, "checkout").locator(".c-rate").first).to_have_text(re.compile(r"\d"))


def test_search_is_by_part_of_a_name_and_stays_in_the_address(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    expect(row(page, "checkout")).to_be_visible()
    page.get_by_label("Functions whose names contain").fill("VIDEO")
    expect(page.locator("tr.row")).to_have_count(2)
    assert sorted(names(page)) == ["video-encode", "video-preview"]
    expect(page.locator("#shown")).to_have_text("2 functions")
    assert page.url.endswith("/?search=VIDEO")
    page.reload()
    expect(page.locator("tr.row")).to_have_count(2)
    page.get_by_label("Functions whose names contain").fill("nothing-like-it")
    expect(page.get_by_text("No function's name contains “nothing-like-it”.")).to_be_visible()


def test_an_account_can_be_chosen(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    expect(page.locator(".account")).to_have_count(2)
    page.get_by_label("Account", exact=True).select_option("111122223333")
    expect(page.locator(".account")).to_have_count(1)
    expect(page.locator("tr.row")).to_have_count(2)


def test_it_can_be_used_with_the_keyboard_alone(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    expect(row(page, "checkout")).to_be_visible()
    page.keyboard.press("/")
    search = page.get_by_label("Functions whose names contain")
    expect(search).to_be_focused()
    page.keyboard.type("report")
    expect(page.locator("tr.row")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    name = page.get_by_role("button", name="report-monthly")
    expect(name).to_be_focused()
    assert name.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(name).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_text("4 slots are reserved for this function")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text("4 slots are reserved for this function")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(search).to_have_value("")
    expect(page.locator("tr.row")).not_to_have_count(1)
    expect(name).to_be_focused()


def test_tab_goes_through_the_tools_before_the_rows(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    expect(row(page, "checkout")).to_be_visible()
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert order == ["search", "account", "top", "BUTTON"]  # of the first account


@pytest.mark.parametrize("width", [375, 768, 1280, 1920])
def test_it_fits_its_screen(busy_shop: Shop, open_page: Open, width: int) -> None:
    page = open_page(busy_shop, width=width, height=800).page
    expect(page.locator("#refusals li").first).to_be_visible()
    assert not has_sideways_scroll(page)
    row(page, "report-monthly").get_by_role("button").click()
    expect(page.locator(".details:visible .holders td").first).to_be_visible()
    page.locator(".account .opens").first.click()
    page.locator(".question").first.click()
    assert not has_sideways_scroll(page)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_text_can_be_read_in_dark_and_in_light(busy_shop: Shop, open_page: Open, scheme: str) -> None:
    page = open_page(busy_shop, color_scheme=scheme).page
    expect(page.locator("#refusals li").first).to_be_visible()
    expect(page.locator("#refusals .chip.full").first).to_be_visible()
    page.locator(".account .opens").first.click()
    row(page, "report-monthly").get_by_role("button").click()
    expect(page.locator(".holders td").first).to_be_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is (scheme == "dark")
    found = contrasts(page)
    assert len(found) > 15
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


def test_names_are_text_and_never_markup(served: Gateway, open_page: Open) -> None:
    """The gateway lets no such name in today; the page does not count on it."""
    application = served.server.gateway
    odd = Limits(AccountLimits("000000000000", 10, {MARKUP: FunctionLimits(1)}))
    served.on_loop(lambda: setattr(application._tables, "tables", application.tables._replace(limits=odd)))
    page = open_page(served).page
    expect(page.locator("tr.row .opens")).to_have_text(MARKUP)
    assert page.locator("tr.row img, tr.row b b").count() == 0
    assert page.title() == "Invoke Gateway"


def test_the_policy_lets_no_other_script_run(served: Gateway, open_page: Open) -> None:
    watched = open_page(served)
    watched.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))"
    )
    assert watched.page.title() == "Invoke Gateway"
    assert any("Content Security Policy" in complaint for complaint in watched.complaints)
    watched.complaints.clear()


def test_it_asks_for_the_admin_token_once_and_keeps_it_out_of_the_address(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "3f2a0c")
    token = {"admin_token": "env:ADMIN_TOKEN", "admin_reads": "token"}
    with gateway(**token) as guarded, watched_page(browser) as watched:
        page = watched.page
        page.goto(f"http://{guarded.server.admin}/?search=hold")
        status, asked = page.locator("#status"), page.get_by_role("textbox", name="Admin token")
        expect(status).to_contain_text("The admin token is needed")
        expect(asked).to_be_focused()
        asked.fill("wrong")
        asked.press("Enter")
        expect(page.locator("#token-text")).to_contain_text("This token is not the right one.")
        expect(page.locator("#accounts")).to_be_hidden()
        asked.fill("3f2a0c")
        page.get_by_role("button", name="Show the gateway").click()
        expect(status).to_have_text("Live")
        expect(page.locator("#token")).to_be_hidden()
        with calls_under_way(guarded, "hold-it"):
            row(page, "hold-it").locator("button.opens").click()
            expect(page.locator(".holders tbody tr")).to_have_count(1)
        page.reload()
        expect(status).to_have_text("Live")
        assert [address for address in watched.asked if "3f2a0c" in address] == []
        assert "3f2a0c" not in page.url
        refused = [complaint for complaint in watched.complaints if "401 (Unauthorized)" not in complaint]
        assert refused == []
    with gateway(**token) as guarded, watched_page(browser) as other:  # another tab has no token
        other.page.goto(f"http://{guarded.server.admin}/")
        expect(other.page.locator("#token")).to_be_visible()


def test_draining_is_shown(served: Gateway, open_page: Open) -> None:
    page = open_page(served).page
    served.on_loop(lambda: setattr(served.server.gateway, "is_draining", True))
    expect(page.locator("#status")).to_have_text("Draining: no new calls are admitted")


def test_a_page_too_many_says_so_and_gets_in_when_there_is_a_place(
    served: Gateway, open_page: Open, browser: Browser
) -> None:
    served.on_loop(lambda: setattr(served.server.gateway.admin.live_stream, "_most", 1))
    first = open_page(served)
    with watched_page(browser) as second:
        second.page.goto(f"http://{served.server.admin}/")
        expect(second.page.locator("#status")).to_contain_text("1 viewers are connected, the maximum.")
        first.page.goto("about:blank")
        expect(second.page.locator("#status")).to_have_text("Live")


def test_ten_thousand_functions_are_a_short_table(open_page: Open) -> None:
    functions = {f"function-{number:05}": {} for number in range(10_000)}
    with gateway(accounts={"default": {"functions": functions, "concurrent_executions": 1000}}) as many:
        page = open_page(many).page
        expect(page.locator("tr.row")).to_have_count(50)
        expect(page.locator("#shown")).to_have_text("50 of 10,000, the busiest first")
        page.get_by_label("How many functions").select_option("200")
        expect(page.locator("tr.row")).to_have_count(200)
        page.get_by_label("Functions whose names contain").fill("-0999")
        expect(page.locator("tr.row")).to_have_count(10)
        with calls_under_way(many, "hold-0999"):
            expect(row(page, "hold-0999").locator(".numbers")).to_have_text("1 / 1,000")


@pytest.mark.lateness
def test_it_comes_back_when_its_gateway_does(browser: Browser, tmp_path: Path) -> None:
    admin = f"{LOOPBACK}:{free_port()}"
    command = [sys.executable, "-m", "invoke_gateway", "serve", "--backend", "demo", "--admin", admin]
    command += ["--listen", f"{LOOPBACK}:{free_port()}", "--reserve", "echo=3"]

    @contextmanager
    def serving() -> Iterator[RunningProcess]:
        with running(command, tmp_path / "log", bare_environment(tmp_path), tmp_path) as process:
            process.wait_until(lambda: fetch_json(f"http://{admin}/readyz"), "the gateway is ready")
            yield process

    with watched_page(browser) as watched:
        with serving() as process:
            watched.page.goto(f"http://{admin}/")
            expect(row(watched.page, "echo").locator(".numbers")).to_have_text("0 / 3")
            began = time.monotonic()
            assert process.stop() == 0
            judge(began, 3)  # an open page must not hold a stop up
        status = watched.page.locator("#status")
        expect(status).to_contain_text("The gateway has stopped; numbers of")
        command[-1] = "echo=4"
        with serving():
            expect(status).to_have_text("Live")
            expect(row(watched.page, "echo").locator(".numbers")).to_have_text("0 / 4")


def test_it_says_so_when_its_gateway_is_killed(browser: Browser, tmp_path: Path) -> None:
    admin = f"{LOOPBACK}:{free_port()}"
    command = [sys.executable, "-m", "invoke_gateway", "serve", "--backend", "demo", "--admin", admin]
    command += ["--listen", f"{LOOPBACK}:{free_port()}"]
    with (
        running(command, tmp_path / "log", bare_environment(tmp_path), tmp_path) as process,
        watched_page(browser) as watched,
    ):
        process.wait_until(lambda: fetch_json(f"http://{admin}/readyz"), "the gateway is ready")
        watched.page.goto(f"http://{admin}/")
        status = watched.page.locator("#status")
        expect(status).to_have_text("Live")
        process.kill()
        expect(status).to_have_text("Reconnecting…")
        expect(status).to_contain_text("Gateway gone, trying again; numbers of")
        expect(watched.page.locator("main")).to_have_css("opacity", "0.55")
