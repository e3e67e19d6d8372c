"""The web page in a real browser: what it shows, sorts and draws; it asks no network and complains of nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from eval.reports import gather, write_content
from eval.tasks.base import TaskResult
from tests.eval.browser import browser
from tests.eval.sample_results import NASTY, SYSTEMS, UNMEASURED, sample_results

pytestmark = pytest.mark.slow
BM25, ENCODER, HYBRID = SYSTEMS


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def visit(window, tmp_path):
    """Return a function that opens the page of results; afterwards it must have asked for itself only."""
    addresses = []

    def open_page(results, **options):
        (path,) = write_content(gather(results, **options), tmp_path, ["html"])
        window.requests.clear()
        window.complaints.clear()
        addresses.append(path.as_uri())
        window.open(path.as_uri())
        return window

    window.look(1280, 900)
    yield open_page
    assert window.requests == addresses
    assert window.complaints == []


def column(page, section, place):
    """Return the texts of a column of a section's first table, without marks and small print."""
    return page.evaluate(f"""
        [...document.querySelector('#{section} table').tBodies[0].rows].map((row) =>
            [...row.cells[{place}].childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join(''))
    """)


def drawn(page, chart):
    """Return the name of a picture and the texts in it."""
    return [
        page.evaluate(f"document.querySelector('#{chart} svg').getAttribute('aria-label')"),
        *page.texts(f"#{chart} svg text"),
    ]


def sections(page):
    return page.evaluate(
        "[...document.querySelectorAll('main > section')].filter((each) => !each.hidden).map((each) => each.id)"
    )


def test_it_shows_everything(visit):
    page = visit(sample_results(), unmeasured=UNMEASURED, title="Spring <models>")
    content = gather(sample_results())
    assert page.evaluate("document.title") == "Spring <models>"
    for section, words in (
        ("scores", f"{content.tasks['SciFact'][HYBRID].score:.4f}"),
        ("scores", "other ties 0."),
        ("missing", "a reranker has no vectors"),
        ("counts", "cut texts"),
        ("method", "the order of the results is judged as it is"),
        ("method", "Holm, over all tests of one task"),
        ("provenance", "53aa5117"),
        ("published", "published <elsewhere>"),
        ("costs", "80"),
    ):
        assert words in page.text(f"#{section}"), words
    assert "2 of 4 within tolerance" in page.text("header")
    assert column(page, "scores", 0) == list(content.tasks)
    assert column(page, "scores", 4) == [
        f"{of_task[BM25].score:.4f}" if BM25 in of_task else "–" for of_task in content.tasks.values()
    ]
    assert page.texts("#scores tbody tr:first-child sup") == ["a", "ab"]
    assert page.evaluate("[...document.querySelectorAll('nav a')].map((each) => each.hash.slice(1))") == sections(page)
    assert len(sections(page)) == 10


def test_the_charts_are_drawn(visit):
    page = visit(sample_results())
    forest = drawn(page, "forest")
    assert forest[0] == f"Differences from {BM25} to {ENCODER}"
    assert {"SciFact", "ArguAna_2", "Pairs"} <= set(forest)
    assert "Clusters" not in forest, "BM25 has no result there"
    pareto = drawn(page, "pareto")
    assert pareto[0] == "nDCG@10 by query p50 ms"
    assert set(SYSTEMS) <= set(pareto)
    assert len(page.texts("#pareto circle.dot")) == 3, "the dearer ones are better: none is beaten"
    assert drawn(page, "curve")[0] == "Differences of 60 items"
    bars = [int(re.search(r"(\d+) items", text)[1]) for text in page.texts("#histogram rect title")]
    wins, ties, losses = map(int, re.findall(r"\d+", page.text("#record"))[:3])
    assert wins + ties + losses == 60
    assert sum(bars) == wins + losses
    assert drawn(page, "length")[0] == "nDCG@10 by length of the query"
    values = page.evaluate(
        "[...document.querySelectorAll('svg *')].flatMap((each) => [...each.attributes]).map((each) => each.value)"
    )
    assert len(values) > 100
    assert not [value for value in values if re.search("NaN|Infinity|undefined|null", value)]


def test_tables_are_sorted_by_mouse_and_keyboard(visit):
    page = visit(sample_results())
    head = "#scores thead th:nth-child(5)"
    page.click(f"{head} button")
    shown = column(page, "scores", 4)
    assert shown[:-1] == sorted(shown[:-1], reverse=True)
    assert shown[-1] == "–", "what is missing comes last"
    assert page.evaluate(f"document.querySelector('{head}').ariaSort") == "descending"
    page.evaluate(f"document.querySelector('{head} button').focus()")
    page.press("Enter", 13, "\r")
    assert column(page, "scores", 4) == [*shown[-2::-1], "–"]
    page.click("#scores thead th:first-child button")
    assert column(page, "scores", 0) == ["ArguAna_2", "Clusters", "Pairs", "SciFact"]
    assert len(page.texts("#scores th[aria-sort]")) == 1
    page.click("#scores thead th:nth-child(4) button")
    assert column(page, "scores", 3) == ["80", "60", "40", "1"], "numbers are sorted as numbers"


def test_wins_and_losses_have_their_texts(visit):
    page = visit(sample_results())
    page.choose("#second", "2")
    assert page.texts("#wins tbody tr:first-child bdi") == [NASTY, "q1"], "0 against 0.9 is the largest win"
    assert page.texts("#wins tbody tr:first-child td.number") == ["0.0000", "0.9000", "+0.9000"]
    assert page.evaluate("document.title") == "Evaluation report", "its text is only text"
    assert page.evaluate("document.images.length") == 0


def test_the_other_way_round_wins_are_losses(visit):
    page = visit(sample_results())
    wins, ties, losses = re.findall(r"\d+", page.text("#record"))[:3]
    won = page.texts("#wins small")
    page.choose("#first", "1")
    assert page.evaluate("document.querySelector('#second').value") == "0", "no system is compared with itself"
    assert re.findall(r"\d+", page.text("#record"))[:3] == [losses, ties, wins]
    assert won
    assert page.texts("#losses small") == won
    assert drawn(page, "forest")[0] == f"Differences from {ENCODER} to {BM25}"


def test_other_choices_draw_other_charts(visit):
    page = visit(sample_results())
    page.choose("#items-task", "1")
    assert drawn(page, "curve")[0] == "Differences of 40 items"
    page.choose("#tradeoff-cost", "bytes_per_document")
    page.choose("#tradeoff-task", "0")
    assert drawn(page, "pareto")[0] == "nDCG@10 by bytes/document"
    before = drawn(page, "length")
    page.choose("#lengths-task", "1")
    assert drawn(page, "length") != before


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_fits_the_window(visit, width):
    page = visit(sample_results())
    page.look(width, 800)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.evaluate("[...document.querySelectorAll('svg')].map((each) => each.getBoundingClientRect().width)")
    assert boxes
    assert all(0 < box <= width for box in boxes)


def test_light_and_dark(visit):
    page = visit(sample_results())
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.look(1280, 900, dark=True)
    dark = page.evaluate(colour)
    assert light != dark
    page.look(1280, 900)
    page.click("#theme")
    assert page.evaluate(colour) == dark
    page.look(1280, 900, dark=True, media="print")
    assert page.evaluate(colour) == light, "paper is white"


def test_one_system_on_one_task(visit):
    page = visit([TaskResult("T", "Clustering", "a", "v_measure", {"v_measure": 0.5}, n_items=1)])
    assert sections(page) == ["scores", "method", "provenance"]


def test_equal_systems(visit):
    results = [one for one in sample_results() if one.system == ENCODER]
    page = visit([*results, *(replace(one, system="twin") for one in results)])
    assert "0 wins, 60 ties, 0 losses" in page.text("#record")
    assert page.text("#wins") == "None."
