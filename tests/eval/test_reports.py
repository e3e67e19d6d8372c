"""Reports in all formats: read back, they say what the results say; nothing in them can be taken for markup."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import shutil
import subprocess
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from eval.errors import ComparisonError, ReportError
from eval.measures import Evaluation, Policies
from eval.reports import FORMATS, gather, render, table, write_report
from eval.reports.chart_data import MOST_ITEMS, chart_data
from eval.reports.figures import shown
from eval.reports.latex import escape, latex_report
from eval.reports.length_effects import length_effects
from eval.reports.markdown import escape as markdown_escape
from eval.reports.policies import other_ties
from eval.reports.tables import comparisons_csv, items_csv, scores_csv, wide_csv
from eval.tasks.base import Reference, TaskResult
from eval.tasks.ranking_results import ranking_policies
from eval.tasks.system import System
from tests.eval.markdown_tables import MARKDOWN, markdown_tables
from tests.eval.sample_results import NASTY, SYSTEMS, UNMEASURED, sample_results

BM25, ENCODER, HYBRID = SYSTEMS


@pytest.fixture(scope="module")
def content():
    return gather(sample_results(), unmeasured=UNMEASURED)


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def printed(renderable, width=200):
    console = Console(width=width, markup=False, color_system=None)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def simple(task, system, score, **more):
    return TaskResult(task, "Retrieval", system, "nDCG@10", {"nDCG@10": score}, n_items=1, **more)


def test_every_file_is_written(tmp_path):
    written = write_report(sample_results(), tmp_path / "deep" / "report")
    assert [path.name for path in written] == [name for files in FORMATS.values() for name in files]
    assert all(path.read_bytes() for path in written)
    assert sorted(path.name for path in (tmp_path / "deep" / "report").iterdir()) == sorted(
        path.name for path in written
    )


def test_the_same_results_give_the_same_bytes(content):
    again = gather(sample_results(), unmeasured=UNMEASURED)
    for form in FORMATS:
        assert render(content, form) == render(again, form)


def test_the_terminal_shows_what_counts(content):
    shown = printed(table(sample_results(), unmeasured=UNMEASURED))
    best = content.tasks["SciFact"][HYBRID].score
    (line,) = [line for line in shown.splitlines() if line.split()[:2] == ["SciFact", "nDCG@10"]]
    assert f"{best:.4f}ᵃᵇ" in line, "the hybrid beats both others"
    assert "OUTSIDE" in shown
    assert "no vectors to cluster" in shown
    assert "other order" in shown
    assert "missing queries" in shown
    assert "1.5" in shown
    assert "\x1b" not in printed(table([simple("evil\x1b[2J", "a\nb", 0.5)])).replace("\n", "")


def test_json_has_everything(content):
    report = json.loads(render(content, "json"))
    again = [
        msgspec.convert({name: value for name, value in one.items() if name not in ("score", "other_ties")}, TaskResult)
        for one in report["results"]
    ]
    assert again == sample_results()
    pairs = report["comparisons"]["pairs"]
    assert len(pairs) == 3 + 3 + 1 + 1
    assert {one["better"] for one in pairs if one["task"] == "SciFact"} == {ENCODER, HYBRID}
    assert {(one["task"], one["system"]): one["reason"] for one in report["unmeasured"]} == {
        (task, system): reason for task, system, reason in UNMEASURED
    }
    assert [one["within"] for one in report["references"]] == [False, True, False, True]
    assert report["results"][0]["other_ties"] == pytest.approx(report["results"][0]["score"] - 0.01)
    assert report["results"][1]["other_ties"] is None


def test_csv_reads_back(content):
    long = rows(scores_csv(content))
    for result in sample_results():
        mine = {row["name"]: row for row in long if (row["task"], row["system"]) == (result.task, result.system)}
        assert {name: float(row["value"]) for name, row in mine.items() if row["what"] == "score"} == result.scores
        assert {name: float(row["value"]) for name, row in mine.items() if row["what"] == "cost"} == result.costs
        assert [name for name, row in mine.items() if row["main"] == "1"] == [result.main_score]
    wide = {row["task"]: row for row in rows(wide_csv(content))}
    assert float(wide["SciFact"][HYBRID]) == content.tasks["SciFact"][HYBRID].score
    assert wide["Clusters"][BM25] == ""
    items = rows(items_csv(content))
    assert {
        row["item"]: float(row["value"]) for row in items if row["task"] == "SciFact" and row["system"] == BM25
    } == (content.tasks["SciFact"][BM25].values)
    assert sum(row["task"] == "Pairs" for row in items) == 160
    assert len(rows(comparisons_csv(content))) == len(content.comparisons.pairs)


def test_means_are_over_what_all_systems_have(content):
    assert [mean.name for mean in content.means] == ["mean of 2 tasks"]
    assert "2 not measured" in content.means[0].note
    two = [content.tasks[task][ENCODER].score for task in ("SciFact", "ArguAna_2")]
    assert content.means[0].scores[ENCODER] == pytest.approx(sum(two) / 2)
    both = gather([one for one in sample_results() if one.system != HYBRID])
    assert [mean.name for mean in both.means] == ["mean of 3 tasks", "mean of 2 kinds"]
    pairs = both.tasks["Pairs"][ENCODER].score
    assert both.means[1].scores[ENCODER] == pytest.approx((sum(two) / 2 + pairs) / 2)


def test_subsets_count_as_one_task_in_the_means():
    results = [one for one in sample_results() if one.system != HYBRID]
    parts = [replace(one, task=f"Long.{one.task}", settings={"subset": one.task}) for one in results]
    alone = gather(results)
    both = gather([*results, *parts])
    assert [mean.name for mean in both.means] == ["mean of 4 tasks", "mean of 2 kinds"]
    assert both.means[0].note == "without 2 not measured with all systems; subsets of a task count as one"
    single = [alone.tasks[task][ENCODER].score for task in ("SciFact", "ArguAna_2", "Pairs")]
    assert both.means[0].scores[ENCODER] == pytest.approx((sum(single) + sum(single) / 3) / 4)


def test_policies_are_one_or_say_where(content):
    said = {one.policy: one for one in content.policies}
    assert said["ties"].sentence == "the order of the results is judged as it is", "without a result's own figures"
    assert said["ties"].where == ("all Retrieval",)
    assert content.unlike_policies == []
    results = sample_results()
    results[4].policies["missing queries"] = "do not count"
    unlike = gather(results)
    assert unlike.unlike_policies == [results[4].task]
    (other,) = [one for one in unlike.policies if one.sentence == "do not count"]
    assert other.where == (f"{results[4].task}: {results[4].system}",)


def test_what_a_system_does_with_texts_is_no_other_policy():
    results = [
        simple("T", "a", 0.1, policies={"truncation": "cut"}),
        simple("T", "b", 0.2, policies={"truncation": "passages"}),
    ]
    found = gather(results)
    assert found.unlike_policies == []
    assert len(found.policies) == 2


def test_memory_of_the_process_is_not_taken_for_a_results_own():
    shown = render(gather([simple("T", "a", 0.5, costs={"process_peak_memory_bytes": 2.5e9})]), "markdown")
    assert "| process peak memory |" in shown
    assert "| 2.50 GB |" in shown


def test_equal_systems_are_both_best():
    found = gather([simple("T", "a", 0.5), simple("T", "b", 0.5), simple("T", "c", 0.25)])
    assert [found.is_best("T", name) for name in "abc"] == [True, True, False]
    assert not gather([simple("T", "a", 0.5)]).is_best("T", "a"), "one system alone is not the best"


@pytest.mark.parametrize(("tolerance", "within"), [(None, None), (0.002, True), (0.001, False)])
def test_tolerances(tolerance, within):
    found = gather([simple("T", "a", 0.5, reference=Reference(0.502, "elsewhere", tolerance))])
    assert found.references[0].within is within
    assert found.references[0].difference == pytest.approx(-0.002)


def test_many_systems_have_marks_of_their_own():
    found = gather([simple("T", f"system {n}", n / 100) for n in range(60)], baseline="system 0")
    assert len(set(found.letters.values())) == 60
    assert [found.letters[f"system {n}"] for n in (0, 24, 25, 26)] == ["a", "z", "aa", "ab"]
    assert "system 59" in printed(table([simple("T", f"system {n}", n / 100) for n in range(60)], baseline="system 0"))


def test_nothing_to_report():
    with pytest.raises(ComparisonError, match="no result"):
        gather([])
    with pytest.raises(ReportError, match="no format of reports 'pdf'"):
        write_report(sample_results(), None, ["pdf"])


LATEX_COMMANDS = re.compile(
    r"\\(?:textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textquotedbl|textquotesingle"
    r"|textasciigrave|textminus|ldots)\{\}|\\[{}$&#_%]|\{[-\[\]*]\}"
)


@given(st.text())
def test_escaped_text_holds_no_command_of_its_own(text):
    rest = LATEX_COMMANDS.sub("", escape(text))
    assert not set(rest) & set("\\{}$&#_%~^<>|\"'`[]*\n\r")


def test_latex_has_the_shape_of_tables(content):
    document = latex_report(content)
    depth = 0
    for character in re.sub(r"\\[{}\\]", "", document):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    for name in ("table", "tabular"):
        assert document.count(rf"\begin{{{name}}}") == document.count(rf"\end{{{name}}}") == 3
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", document, re.DOTALL):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert lines
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(columns) - 1}


@pytest.mark.slow
def test_latex_compiles(content, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-base, texlive-latex-recommended)")
    preamble = r"\usepackage[T1]{fontenc}\usepackage{textcomp}\usepackage{booktabs}\usepackage{graphicx}"
    document = rf"\documentclass{{article}}{preamble}\begin{{document}}{latex_report(content)}\end{{document}}"
    (tmp_path / "report.tex").write_text(document, encoding="utf-8")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-2000:]


def test_markdown_tables_read_back(content):
    scores, references, comparisons, costs, counts, missing = markdown_tables(render(content, "markdown"))
    assert scores[0][4:] == [f"{name} [{content.letters[name]}]" for name in SYSTEMS]
    values = {row[0]: [re.sub(r" \[.*", "", cell) for cell in row[4:]] for row in scores[1:]}
    for task, of_task in content.tasks.items():
        assert values[task] == [f"{of_task[name].score:.4f}" if name in of_task else "–" for name in SYSTEMS]
    assert scores[1][-1].endswith(" [ab]"), "the hybrid beats both others"
    assert [row[-1] for row in references[1:]] == ["outside", "within", "outside", "within"]
    assert references[1][2] == "published <elsewhere>"
    assert float(references[1][5]) == pytest.approx(-0.01)
    assert len(comparisons) == 1 + len(content.comparisons.pairs)
    assert comparisons[1][4].startswith("[+"), "an interval"
    assert ["SciFact", BM25, "1.5", "400"] in costs
    assert ["SciFact", ENCODER, "cut texts", "7"] in counts
    assert ("Clusters", BM25, "no vectors to cluster") in [tuple(row) for row in missing]


def test_markdown_holds_no_text_of_the_data(content):
    document = render(content, "markdown")
    words = {text for result in content.results for text in result.queries.values()}
    assert words
    assert not [text for text in words if text in document or markdown_escape(text) in document]


def test_markdown_says_where_results_come_from():
    model = {"identity": {"kind": "made", "weights": "0123456789abcdef"}, "execution": {"precision": "fp32"}}
    settings = {
        "system": {"encoder": model, "options": {"mode": "dense"}, "long": "chunk"},
        "task": {"definition": {"split": "dev"}, "files": {"a.tsv": "fedcba9876543210"}},
        "seed": 42,
        "versions": {"numpy": "2.0"},
        "code": "00112233445566778899",
    }
    document = render(gather([simple("T", "mine", 0.5, settings=settings), simple("U", "mine", 0.5)]), "markdown")
    said = [line for line in document.splitlines() if line.startswith("- ")]
    assert said[0].startswith("- **mine**: encoder: made, weights 0123456789ab, fp32; search: ")
    assert said[1] == "- **T**: split dev, SHA-256 a.tsv fedcba987654"
    assert said[2:] == ["- **seed**: 42 (T)", "- **versions**: numpy 2.0 (T)", "- **code**: 001122334455 (T)"]


@given(st.text())
def test_escaped_text_is_the_text_for_a_parser_of_markdown(text):
    document = f"# {markdown_escape(text)}\n\n| a | b |\n| --- | --- |\n| {markdown_escape(text)} | x |\n"
    ((_, cells),) = markdown_tables(document)
    assert cells == [shown(text).strip(), "x"]
    (heading,) = [
        token for before, token in itertools.pairwise(MARKDOWN.parse(document)) if before.type == "heading_open"
    ]
    assert "".join(one.content for one in heading.children).strip() == shown(text).strip()


def test_the_page_stays_small_for_many_queries():
    n = 4_000
    results = sample_results(n)
    data = chart_data(gather(results))
    pair = data["pairs"][0]
    assert pair["n"] == n
    assert len(pair["wins"]) == len(pair["losses"]) == MOST_ITEMS
    values = [results[0].values, results[1].values]
    gaps = sorted(values[1][item] - values[0][item] for item in values[0])
    assert [second - first for _, first, second in pair["wins"]] == pytest.approx(gaps[: -MOST_ITEMS - 1 : -1])
    assert [second - first for _, first, second in pair["losses"]] == pytest.approx(gaps[:MOST_ITEMS])
    assert sum(pair["histogram"]["counts"]) == sum(abs(gap) > 1e-9 for gap in gaps)
    assert [gap for _, gap in pair["curve"]] == pytest.approx([gaps[place] for place, _ in pair["curve"]], abs=1e-4)
    assert pair["curve"][0][0] == 0
    assert pair["curve"][-1][0] == n - 1
    assert len(msgspec.json.encode(data)) < 200_000


def test_length_effects_by_hand():
    queries = {f"q{n}": " ".join(["w"] * (2 if n < 10 else 5)) for n in range(20)}
    values = {f"q{n}": (0.25 if n < 10 else 0.75) for n in range(20)}
    result = TaskResult("T", "Retrieval", "a", "nDCG@10", {"nDCG@10": 0.5}, values, queries=queries)
    effects = length_effects([result], ["b", "a"])
    assert effects["unit"] == "words"
    assert effects["groups"] == [[2, 2, 10], [5, 5, 10]]
    assert effects["systems"] == [{"system": 1, "means": [[0.25] * 3, [0.75] * 3], "rho": 1.0}]
    chinese = {item: text.replace("w ", "字") for item, text in queries.items()}
    found = length_effects([TaskResult("T", "R", "a", "s", {"s": 0.5}, values, queries=chinese)], ["a"])
    assert found["unit"] == "characters"
    assert length_effects([TaskResult("T", "R", "a", "s", {"s": 0.5}, values)], ["a"]) is None, "no texts, no lengths"


@given(st.lists(st.integers(1, 30), min_size=16, max_size=60))
def test_every_item_is_in_one_group_of_lengths(lengths):
    queries = {f"q{n}": " ".join(["w"] * length) for n, length in enumerate(lengths)}
    values = dict.fromkeys(queries, 0.5)
    effects = length_effects([TaskResult("T", "R", "a", "s", {"s": 0.5}, values, queries=queries)], ["a"])
    if effects is not None:
        assert sum(n for _, _, n in effects["groups"]) == len(lengths)
        assert min(n for _, _, n in effects["groups"]) >= 8
        ends = [end for group in effects["groups"] for end in group[:2]]
        assert ends == sorted(ends)
    else:
        assert len(set(lengths)) < 16


def test_what_comes_from_outside_is_only_text(content):
    page = render(content, "html")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert NASTY in data["texts"][0].values()
    assert page.count("</script>") == 2, "the data and the script end once each"
    assert "hybrid &lt;b&gt;&amp;&quot;&#x27; $x_1$" in page
    assert "<b>&" not in page
    assert "example.invalid" not in page.replace("http://example.invalid/x\\u003e", "")


def test_what_ranking_tasks_say_of_ties_is_one_policy():
    tied = Evaluation({"nDCG@10": 0.5}, {}, other_ties={"nDCG@10": 0.4, "R@100": 0.3})
    plain = Evaluation({"nDCG@10": 0.5}, {})
    results = [
        simple(
            "T",
            name,
            0.5,
            policies=ranking_policies(Policies(), evaluation, System(name)),
            settings={"other_ties": evaluation.other_ties},
        )
        for name, evaluation in (("tied", tied), ("plain", plain))
    ]
    assert results[0].policies["ties"] != results[1].policies["ties"]
    found = gather(results)
    assert found.unlike_policies == []
    assert [one.where for one in found.policies if one.policy == "ties"] == [()]
    assert [other_ties(result) for result in results] == [0.4, None]
    trec = ranking_policies(Policies.preset("trec_eval"), plain, System("trec"))
    assert gather([results[1], simple("T", "trec", 0.5, policies=trec)]).unlike_policies == ["T"]
