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

from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from tests.page.browser import Watched, watched_page
from tests.page.traffic import Shop, shop
from tests.support.lateness import judge
from tests.support.processes import LOOPBACK, RunningProcess, bare_environment, fetch_json, free_port, running
from tests.support.sockets import Gateway, calls_under_way, gateway, invoke, refusal_of
from tests.support.stores import Store, running_store

Open = Callable[..., Watched]

RESERVED = {"default": {"concurrent_executions": 10, "functions": {"hold-a": {"reserved_concurrent_executions": 2}}}}
MARKUP = "<img src=x onerror=\"document.title='taken over'\"><b>bold</b>"


@pytest.fixture
def served() -> Iterator[Gateway]:
    """A gateway with ten slots, two of them for `hold-a`; calls of `hold…` run until they are released."""
    with gateway(accounts=RESERVED) as started:
        yield started


@pytest.fixture(scope="module")
def busy_shop() -> Iterator[Shop]:
    with shop() as started, started.busy():
        started.hold(function="report-monthly", slots=2, seconds=600)
        yield started


def row(page: Page, name: str):
    return page.locator("tr.row").filter(has=page.get_by_role("button", name=name, exact=True))


def names(page: Page) -> list[str]:
    return page.locator("tr.row button").all_inner_texts()


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
        expect(page.locator(".account .claimed")).to_have_text("3 of 10 claimed · 2 in flight")
    expect(row(page, "hold-a").locator(".numbers")).to_have_text("0 / 2")
    expect(page.locator(".account .claimed")).to_have_text("2 of 10 claimed · 0 in flight")


def test_a_refusal_shows_its_limit_and_what_held_it(served: Gateway, open_page: Open) -> None:
    page = open_page(served).page
    expect(page.get_by_text("Nothing has been refused.")).to_be_visible()
    with calls_under_way(served, "hold-a", "hold-a"):
        assert refusal_of(served.send(invoke("hold-a")))[0] == 429
        refused = page.locator("#refusals li")
        expect(refused).to_have_count(1)
        expect(refused).to_contain_text("reserved_concurrent_executions: 2 of 2 in use")
        expect(refused).to_contain_text("held by hold-a 2 (oldest")
        expect(row(page, "hold-a").locator(".numbers")).to_have_text("2 / 2 full")
        expect(row(page, "hold-a").locator(".throttles .chip")).to_have_text("reserved concurrency 1")
        expect(row(page, "hold-a").locator(".oldest")).to_have_text(re.compile(r"\d\.\d s"))


def test_a_hold_is_marked_as_one(busy_shop: Shop, open_page: Open) -> None:
    page = open_page(busy_shop).page
    expect(row(page, "report-monthly").locator(".chip.hold")).to_have_text("2 held on purpose")


def test_the_bar_shows_reserved_used_and_claimed_in_their_proportions(served: Gateway, open_page: Open) -> None:
    page = open_page(served, reduced_motion="reduce").page
    with calls_under_way(served, "hold-a", "hold-b", "hold-c", "hold-d"):
        expect(page.locator(".account .claimed")).to_have_text("5 of 10 claimed · 4 in flight")
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
            expect(page.locator(".account .claimed")).to_have_text("5 of 10 claimed · 5 in flight, 2 here")
            expect(row(page, "hold-a").locator(".numbers")).to_have_text("2 / 2 full")
            expect(row(page, "hold-a").locator(".where")).to_have_text("reserved · 1 here")
            expect(row(page, "hold-c").locator(".where")).to_have_text("shared pool · 0 here")
            expect(row(page, "hold-c").locator(".oldest")).to_have_text("")
            widths = page.eval_on_selector_all(".account .bar i", "all => all.map(each => each.style.width)")
            assert widths == ["10%", "10%", "0%", "0%", "10%", "20%", "0%"]
            of_row = row(page, "hold-a").locator(".bar i")
            assert [each.evaluate("each => each.style.width") for each in of_row.all()] == ["50%", "50%", "0%"]
            assert min(contrasts(page).values()) >= 4.5
            page.set_viewport_size({"width": 360, "height": 800})
            assert not has_sideways_scroll(page)
        expect(page.locator(".account .claimed")).to_have_text("2 of 10 claimed · 0 in flight, 0 here")


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
        store.kill()
        expect(page.locator("#trouble")).to_contain_text("The shared counters are unavailable")
        expect(page.locator("#trouble")).to_contain_text("What other gateways run was so", timeout=60_000)


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
    expect(cell).to_have_text(re.compile(r"reserved concurrency \d+"))
    before = cell.inner_text()
    expect(cell).not_to_have_text(before)
    expect(row(page, "checkout").locator(".spark .line")).to_have_attribute("d", re.compile(r"^M\d+ [\d.]+L"))
    expect(row(page, "checkout").locator(".peak")).to_have_text(re.compile(r"peak \d+"))


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
    assert order == ["search", "account", "top", "BUTTON"]


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_fits_its_screen(busy_shop: Shop, open_page: Open, width: int) -> None:
    page = open_page(busy_shop, width=width, height=800).page
    expect(page.locator("#refusals li").first).to_be_visible()
    assert not has_sideways_scroll(page)
    row(page, "report-monthly").get_by_role("button").click()
    expect(page.locator(".details:visible")).to_have_count(1)
    assert not has_sideways_scroll(page)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_text_can_be_read_in_dark_and_in_light(busy_shop: Shop, open_page: Open, scheme: str) -> None:
    page = open_page(busy_shop, color_scheme=scheme).page
    expect(page.locator("#refusals li").first).to_be_visible()
    expect(page.locator(".chip.hot").first).to_be_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is (scheme == "dark")
    found = contrasts(page)
    assert len(found) > 15
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


def test_names_are_text_and_never_markup(served: Gateway, open_page: Open) -> None:
    """The gateway lets no such name in today; the page does not count on it."""
    application = served.server.gateway
    odd = Limits(AccountLimits("000000000000", 10, {MARKUP: FunctionLimits(1)}))
    served.on_loop(lambda: setattr(application, "tables", application.tables._replace(limits=odd)))
    page = open_page(served).page
    expect(page.locator("tr.row button")).to_have_text(MARKUP)
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
            expect(status).to_have_text("Live", timeout=10_000)
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
        expect(status).to_contain_text("Gateway gone, trying again; numbers of", timeout=10_000)
        expect(watched.page.locator("main")).to_have_css("opacity", "0.55")
