"""The pages in a real browser: a file dropped, a question asked, brackets that close, a proof that is checked."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.accessibility import barriers
from tests.verifier.service.pages.conftest import NET, drop
from tests.verifier.service.pages.fake_service import FakeService
from verifier.service.pages import wording

pytestmark = pytest.mark.slow

# Texts that lie over one another: rectangles of text as far as their ancestors let them be seen.
OVERLAPS = """() => {
  const seen = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const owner = node.parentElement;
    if (!node.textContent.trim() || owner.closest(".unseen, .skip, datalist, noscript, option")) continue;
    if (!owner.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (let { left, right, top, bottom } of range.getClientRects()) {
      for (let up = owner; up; up = up.parentElement) {
        if (getComputedStyle(up).overflow === "visible" || up instanceof SVGElement) continue;
        const held = up.getBoundingClientRect();
        [left, right] = [Math.max(left, held.left), Math.min(right, held.right)];
        [top, bottom] = [Math.max(top, held.top), Math.min(bottom, held.bottom)];
      }
      const text = node.textContent.trim().slice(0, 30);
      if (right - left > 1 && bottom - top > 1) seen.push({ node, text, left, right, top, bottom });
    }
  }
  const found = [];
  seen.forEach((a, k) => seen.slice(k + 1).forEach((b) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (a.node !== b.node && across > 2 && down > 5) found.push(`${a.text} | ${b.text}`);
  }));
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page is wider than the window");
  return found;
}"""

SHIFTED = """() => new Promise((told) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => told(sum), 100);
})"""


def ask(page: Page, address: str, samples: str, question: str = "distance", seconds: str = "200") -> str:
    """Ask about the network that is there; the run's address, where the page now is."""
    page.goto(address)
    page.fill("#samples", samples)
    page.check(f'input[value="{question}"]')
    page.fill("#time_limit", seconds)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_url("**/view/runs/*")
    return page.url


def finished(page: Page) -> None:
    """Wait until the run is."""
    expect(page.locator('[data-run-field="state"]')).to_have_text("finished")


def test_a_file_is_dropped_and_a_question_s_brackets_close(
    page: Page, address: str, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "step_seconds", 0.1)
    page.goto(address)
    other = NET.with_name("digits-64-64-64-10.onnx")
    drop(page, (other.name, other.read_bytes()))
    expect(page.locator(".model")).to_contain_text("128 ReLUs")
    expect(page.locator(".layers li")).to_have_count(6)
    page.select_option("#model", label=NET.name)
    expect(page.locator(".model")).to_contain_text("64 ReLUs")
    page.fill("#samples", "0:3")
    page.fill("#time_limit", "200")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_url("**/view/runs/*")
    row = page.locator('tr[data-sample="1"]')
    expect(row.locator('[data-field="verdict"]')).to_have_text("running")
    lowers, uppers = [], []
    while row.get_attribute("data-status") == "running":
        lowers.append(wording.number(row.locator('[data-field="lower"]').inner_text()))
        uppers.append(wording.number(row.locator('[data-field="upper"]').inner_text().replace("∞", "inf")))
        page.wait_for_timeout(20)
    finished(page)
    assert lowers == sorted(lowers)
    assert uppers == sorted(uppers, reverse=True)
    assert len(set(lowers)) > 3
    expect(page.locator('[data-field="verdict"].is-exact')).to_have_count(4)  # three rows, and the one shown large
    assert page.evaluate(SHIFTED) < 0.01


def test_what_stays_open_is_explained_and_goes_on_with_more_time(page: Page, address: str) -> None:
    ask(page, address, "3:6", seconds="5")
    finished(page)
    page.locator('tr[data-sample="4"]').click()
    expect(page.locator(".sample h2")).to_contain_text("Sample 4")
    expect(page.locator(".why")).to_contain_text("12 phases are open")
    expect(page.locator('tr[data-sample="4"]')).to_have_attribute("data-status", "unresolved")
    page.fill('[name="time_limit"]', "long")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("“long” is no number")  # and not that there is no limit
    page.fill('[name="time_limit"]', "500")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator('tr[data-sample="4"]')).to_have_attribute("data-status", "exact")
    finished(page)
    expect(page.locator(".why")).to_be_hidden()
    expect(page.get_by_role("button", name="Go on")).to_be_hidden()


def test_connections_that_break_lose_nothing(
    page: Page, address: str, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "events_at_once", 10)
    connected: list[str] = []
    page.on("request", lambda one: connected.append(one.url) if one.url.endswith("/events") else None)
    ask(page, address, "0:4")
    finished(page)
    expect(page.locator("tr .is-exact")).to_have_count(4)
    expect(page.locator('[data-run-field="done"]')).to_have_text("4 of 4 answered")
    expect(page.locator('[data-count="exact"]')).to_have_text("4")
    assert len(connected) > 2


def test_a_run_is_cancelled_and_deleted(page: Page, address: str) -> None:
    ask(page, address, "0:200")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator('[data-run-field="state"]')).to_have_text("cancelled")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete for good?").click()
    page.wait_for_url(f"{address}/#runs")


def test_a_comparison_is_told_as_it_goes_on(
    page: Page, address: str, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "step_seconds", 0.15)
    runs = [ask(page, address, "0:4").rpartition("/")[2] for _ in range(2)]
    page.goto(f"{address}/view/comparisons/{'-'.join(runs)}")
    page.evaluate("window.sameAsBefore = true")
    written = page.get_by_role("link", name="Curves, intervals and tests")
    line = page.locator('[data-chart="curve"] .line').first
    before = line.get_attribute("d")
    expect(written).to_be_hidden()
    expect(written).to_be_visible()
    expect(line).not_to_have_attribute("d", str(before))
    expect(page.locator(".sentence .state")).to_have_text("running")
    assert page.evaluate("window.sameAsBefore")  # and nothing was loaded again
    expect(page.locator(".sentence .state")).to_have_text("finished")


def test_a_table_sorts_filters_and_a_chart_is_read(page: Page, address: str) -> None:
    ask(page, address, "0:10", "verify", seconds="5")
    finished(page)
    page.locator('[data-sort="upper"]').click()
    page.locator('[data-sort="upper"]').click()
    order = page.locator("tr[data-sample] > th a").all_inner_texts()
    assert order[0] == "8"
    assert order[-1] == "7"
    page.locator('[data-filter="falsified"]').click()
    assert {row.get_attribute("data-status") for row in page.locator("tr[data-sample]:visible").all()} == {"falsified"}
    page.locator('[data-filter=""]').click()
    page.fill("[data-find]", "unresolved")
    expect(page.locator("tr[data-sample]:visible")).to_have_count(1)
    chart = page.locator('[data-chart="curve"]')
    expect(chart.locator("[data-read]")).to_contain_text("radius 0.05: 50.0 % proven robust, 60.0 % not falsified")
    box = chart.locator("svg").bounding_box()
    assert box
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    expect(chart.locator("[data-read]")).to_contain_text("90.0 % proven robust, 90.0 % not falsified, 0.0 % open")


def test_keys_are_enough(page: Page, address: str) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"no number of tabs leads to {selector}")

    page.goto(address)
    tab_to("#theme")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    tab_to("#model-file")
    tab_to("#samples")
    page.keyboard.press("Control+A")
    page.keyboard.type("0:3")
    tab_to('[name="question"]')
    page.keyboard.press("ArrowDown")
    tab_to("#radius")
    page.keyboard.press("Control+A")
    page.keyboard.type("8/255")
    tab_to(".submit button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/view/runs/*")
    expect(page.locator(".sentence")).to_contain_text("0.0313725")
    finished(page)
    tab_to('[data-chart="curve"] svg')
    page.keyboard.press("ArrowRight")
    expect(page.locator('[data-chart="curve"] .cross')).to_have_count(1)
    tab_to("tr[data-sample] a")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".sample h2")).to_contain_text("Sample 1")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_nothing_overlaps_and_all_can_be_read(
    page: Page, address: str, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "step_seconds", 0.0)
    run = ask(page, address, "0:10", "verify", seconds="5")
    finished(page)
    run = run.rpartition("/")[2]
    other = ask(page, address, "0:10").rpartition("/")[2]
    model = page.evaluate("document.querySelector('.same a').getAttribute('href')")
    finished(page)
    paths = [
        "/",
        f"/view/runs/{run}?sample=4",
        f"/view/runs/{run}/samples/1",
        f"/view/compare?runs={run},{other}",
        f"/view/comparisons/{run}-{other}",
        model,
    ]
    wrong = {}
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        for path in paths:
            page.goto(address + path)
            page.evaluate("() => document.querySelectorAll('details').forEach((held) => (held.open = true))")
            page.wait_for_timeout(100)
            wrong[f"{path} at {width}"] = page.evaluate(OVERLAPS)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                wrong[f"{path} at {width}, {scheme}"] = barriers(page)
    assert not {where: found for where, found in wrong.items() if found}


def test_a_problem_is_said_where_it_arose(page: Page, address: str, browser: Browser) -> None:
    page.goto(address)
    page.check('input[value="verify"]')
    page.fill("#radius", "wide")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("“wide” is no number")
    with browser.new_context() as apart:  # the refusal is an error on the console, as it should be
        second = apart.new_page()
        second.goto(address)
        drop(second, ("net.pkl", b""))
        expect(second.get_by_role("alert")).to_contain_text("net.pkl is no ONNX file")


def test_without_a_script_a_run_can_be_read(browser: Browser, page: Page, address: str) -> None:
    run = ask(page, address, "0:10", seconds="5")
    finished(page)
    with browser.new_context(java_script_enabled=False) as plain:
        tab = plain.new_page()
        tab.goto(run)
        expect(tab.locator("tr[data-sample]")).to_have_count(10)
        tab.locator('a[href="?verdict=misclassified"]').click()
        expect(tab.locator("tr[data-sample]")).to_have_count(1)
        expect(tab.locator(".pictures img").first).to_be_visible()


def test_the_script_words_numbers_as_the_server_does(page: Page, address: str) -> None:
    page.goto(address)
    held = [0, 0.05, 0.123456, 1e-5, 12, 99999, "inf", "-inf", None, -0.25, 1234.6]
    held += [0.03123, 0.031230000000000001, 0.0312345, -0.0312345, 0.99999, -0.99999, 9999.5, 9.9999e-5, 5e-324]
    for side in (wording.below, wording.above):
        known = [side(one) for one in held]  # type: ignore[arg-type]
        assert page.evaluate(f"(held) => held.map({side.__name__})", held) == known
    pairs: list[tuple[float | str, float | str]] = [
        (0, 0.5),
        (0.5, 0.5),
        (0, "inf"),
        ("inf", "inf"),
        (0.3, 0.4),
        (0.9998, 1.0),
        (0.99899, 1.0),
        (0.05, 0.0500008),
        (0.6666, 1.0),
    ]
    assert page.evaluate("(held) => held.map(([a, b]) => gap(a, b))", pairs) == [wording.gap(*one) for one in pairs]
    parts = [
        (1 - 9 / 10, 0.3),
        (2 / 3, 0.66671),
        (1 / 16, 1 / 16),
        (3 / 16, 3 / 16),
        (0.99999, 0.99999),
        (0, 1),
        (1, 1),
    ]
    told = page.evaluate("(held) => held.map(([a, b]) => shares(a, b))", parts)
    assert [tuple(one) for one in told] == [wording.shares(*one) for one in parts]
    times = [0, 0.314, 42, 200, 7500]
    assert page.evaluate("(held) => held.map(duration)", times) == [wording.duration(one) for one in times]
