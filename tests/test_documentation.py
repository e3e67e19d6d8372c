"""The README: its Python runs in order, its commands run, and what it says about files, names and defaults is so.

Nothing in its blocks is skipped or replaced. What they take for granted is prepared in an empty folder: documents,
arrays, and two small models with random weights in the folders `intfloat/e5-small-v2` (a name on the model hub, where
there is one) and `path/to/another-model`. All of it runs with every access to a network refused and recorded.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    line: int
    code: str


def blocks(language: str) -> list[Block]:
    fenced = re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    found = (Block(match[1], README[: match.start(2)].count("\n"), match[2]) for match in fenced)
    return [block for block in found if block.language == language]


def commands() -> list[list[str]]:
    """Return the arguments of every `retrieval …` in the blocks of shell commands."""
    found: list[list[str]] = []
    for line in "".join(block.code for block in blocks("sh")).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
        lexer.whitespace_split = True
        words = list(lexer)
        ends = [place for place, word in enumerate(words) if word == ";"]
        starts = [0, *(end + 1 for end in ends)]
        found += [words[start:end] for start, end in zip(starts, [*ends, len(words)], strict=True)]
    return [words[1:] for words in found if words and words[0] == "retrieval"]


def prose() -> str:
    """Return the README without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)


def code_spans() -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose())


# ------------------------------------------------------------------------------------------------------- the Python

GUARD = """
import os, sys

REMOTE = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg",
          "http.client.connect", "urllib.Request")

def refuse(event, arguments):
    if event in REMOTE and getattr(arguments[0], "family", None) != 1:  # AF_UNIX stays on the machine
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {arguments!r:.200}\\n")
        raise OSError("there is no network")

sys.addaudithook(refuse)
"""

TAKEN_FOR_GRANTED = """
import numpy as np

documents = [{"id": f"own {number}", "text": f"words for BM25, number {number}"} for number in range(4)]
array = np.eye(4, 8, dtype=np.float32)  # (n, d)
query_vector = array[2]
"""

CLAIMS = """
assert found.rows.tolist() == [1, 0] and found.scores.tolist() == [1.5 * 170, 1.5 * 34]
assert hits.mode == "hybrid"
assert len(hits) == 6 and hits[0].id == "a2"
assert "term 'bird'" in str(hits[0].explain()) and "passage" in str(hits[0].explain())
assert "a1" in collection and "a7" not in collection and "old" not in collection
assert collection.get("a1").text == "Swifts sleep on the wing."
assert "on-waders.md" in set(collection.ids())
assert {hit.id for hit in collection.search("sleep", where="year >= 2020 and lang in [en, de]")} == {"a1", "a2"}
assert collection.search('+sleep "on the wing" -hotel', syntax="query").ids == ["a1"]
assert collection.search("sleep", mode="bm25").mode == "bm25"
assert "a1" not in collection.similar("a1").ids
stats = collection.stats()
assert stats["encoder"]["source"].endswith("another-model") and stats["encoder"]["dimension"] == 32
assert stats["searcher"]["settings"]["type"] == "hnsw"
found = collection.search("sleep", mode="dense")
assert {hit.id: hit.score for hit in found} == {
    hit.id: hit.score for hit in collection.search("sleep", mode="dense", exact=True)
}
assert own.search("words for BM25", vector=query_vector).mode == "hybrid"
assert own.search(vector=query_vector)[0].id == "own 2"
assert late.settings.long == ChunkSettings("late", passage_tokens=128) and len(late) == 4
assert [used.retriever for used in fed_back[0].explain().feedback] == ["bm25(rm3)", "dense(average)"]
assert impacts.search("do swifts sleep")[0].score == 169.0
assert expanded.search("birds", mode="bm25").ids == ["a1"]
assert collection.verify().ok and own.verify().ok and late.verify().ok
assert ranked.mode == stages and plan.calls == min(50, len(collection))
assert [stage.name for stage in ranked.stages] == ["bm25", "dense", "fusion", "words"]
assert ranked.stages[-1].calls == plan.calls and ranked[0].id == "a2"
"""

DOCUMENTS = [
    ("a2", "Do birds sleep?", "Birds sleep with one eye open, and half of the brain awake.", 2021, "de"),
    ("a3", "", "How whales sleep is another question.", 2019, "en"),
    ("a7", "", "A hotel for guests who sleep badly.", 2020, "en"),
    ("a8", "", "Migration begins in autumn.", 2022, "fr"),
    ("old", "", "What was thought about birds long ago.", 1899, "en"),
    ("long", "", "The journey of a stork. " + "It flies south and rests in the fields. " * 60, 2015, "en"),
]


@pytest.fixture
def prepared(tmp_path, monkeypatch) -> Path:
    """A folder that holds what the README's examples name; the test runs in it."""
    rows = [
        {"_id": name, "title": title, "text": text, "metadata": {"year": year, "lang": language}}
        for name, title, text, year, language in DOCUMENTS
    ]
    folder = tmp_path / "work"
    testset = folder / "path" / "to" / "beir-folder"
    for each in (folder / "new", folder / "docs", testset / "qrels"):
        each.mkdir(parents=True)
    for corpus in (folder / "corpus.jsonl", testset / "corpus.jsonl"):
        corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "new" / "on-waders.md").write_text("# Waders\n\nThey sleep on one leg.\n", encoding="utf-8")
    pairs = "".join(f"what is question {number}\tthe answer to it is {number}\n" for number in range(8))
    (folder / "questions.tsv").write_text("query\tpassage\n" + pairs, encoding="utf-8")
    weighted = {"id": "a1", "contents": "Swifts sleep in flight.", "vector": {"swifts": 98, "sleep": 71}}
    (folder / "weights.jsonl").write_text(json.dumps(weighted) + "\n", encoding="utf-8")
    triples = "".join(f"what is question {n}\tthe answer to it is {n}\tno answer to {n}\n" for n in range(8))
    (folder / "triples.tsv").write_text("query\tpositive\tnegative\n" + triples, encoding="utf-8")
    pairs = "".join(
        f"{title or text}\t{text}\t{4.5 + number % 2 / 4}\n" for number, (_, title, text, *_) in enumerate(DOCUMENTS)
    )
    tasks = {"birds": 'name = "Birds"\nkind = "Retrieval"\n', "alike": 'name = "Alike"\nkind = "STS"\n'}
    for name, task in tasks.items():
        (folder / "path" / "to" / "data-sets" / name).mkdir(parents=True)
        (folder / "path" / "to" / "data-sets" / name / "task.toml").write_text(task, encoding="utf-8")
    for place in ("pairs.tsv", "path/to/data-sets/alike/test.tsv"):
        (folder / place).write_text("sentence1\tsentence2\tscore\n" + pairs, encoding="utf-8")
    (folder / "docs" / "owls.txt").write_text("Owls sleep by day.", encoding="utf-8")
    (testset / "queries.jsonl").write_text('{"_id": "q1", "text": "how do birds sleep"}\n', encoding="utf-8")
    for split in ("test", "dev"):
        judged = testset / "qrels" / f"{split}.tsv"
        judged.write_text("query-id\tcorpus-id\tscore\nq1\ta2\t1\n", encoding="utf-8")
    shutil.copytree(testset, folder / "path" / "to" / "data-sets" / "birds", dirs_exist_ok=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def models(prepared) -> None:
    """Two small models in the folders that the README names."""
    specification = importlib.util.spec_from_file_location("tiny_models", ROOT / "tests" / "retrieval" / "conftest.py")
    assert specification is not None
    assert specification.loader is not None
    tiny = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tiny)
    for seed, name in enumerate(("intfloat/e5-small-v2", "path/to/another-model")):
        made = tiny.save_model(prepared.parent / f"model {seed}", tiny.DEFAULTS | {"seed": seed})
        target = prepared / name
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)


class Offline(NamedTuple):
    """A process without a network, and what it tried."""

    done: subprocess.CompletedProcess[str]
    attempts: str


@pytest.fixture
def offline(prepared):
    """Return a function that runs Python with arguments, no network and no word about being offline."""
    guard = prepared.parent / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    log = guard / "attempts"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {
        "PYTHONPATH": f"{guard}{os.pathsep}{ROOT}",
        "NETWORK_LOG": str(log),
        "HF_HOME": str(guard / "empty"),
    }

    def run(*arguments: str) -> Offline:
        log.write_text("", encoding="utf-8")
        done = subprocess.run(
            [sys.executable, *arguments], cwd=prepared, env=environment, capture_output=True, text=True, check=False
        )
        return Offline(done, log.read_text(encoding="utf-8"))

    return run


def test_the_guard_refuses_and_records_a_network(offline):
    for code in (
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://example.invalid')",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    ):
        done, attempts = offline("-c", code)
        assert done.returncode == 1
        assert attempts
        assert "there is no network" in done.stderr


@pytest.mark.slow
def test_the_python_blocks_run_in_order_without_a_network(prepared, models, offline):
    assert len(blocks("python")) == 9
    parts = [f"exec(compile({TAKEN_FOR_GRANTED!r}, 'taken for granted', 'exec'))"]
    for block in blocks("python"):
        # Lines are counted as in the README, so that a traceback shows the right one.
        parts.append(f"exec(compile({chr(10) * block.line + block.code!r}, {str(ROOT / 'README.md')!r}, 'exec'))")
    parts.append(f"exec(compile({CLAIMS!r}, 'claims', 'exec'))")
    (prepared.parent / "blocks.py").write_text("\n".join(parts), encoding="utf-8")
    done, attempts = offline(str(prepared.parent / "blocks.py"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("score ")  # of `print(hits[0].explain())`
    assert not attempts


# ---------------------------------------------------------------------------------------------------- the command line


def test_the_commands_are_found():
    assert {command[0] for command in commands()} >= {"index", "search", "evaluate", "delete", "info", "doctor"}


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_and_option_exists(arguments):
    from retrieval.cli import application

    command = application.commands[arguments[0]]
    command.make_context(arguments[0], list(arguments[1:]))  # raises on what it does not know


def test_every_option_in_the_prose_exists():
    from retrieval.cli import application

    known = {option for command in [application, *application.commands.values()] for option in names_of(command)}
    named = {word for span in code_spans() for word in re.findall(r"(?<!\S)--?[a-z][\w-]*", span)}
    assert "--metadata" in named
    assert named <= known | {"-c"}  # pip's


def test_trainings_in_the_prose_name_all_that_they_need():
    """Those with an option; others speak of the command."""
    from retrieval.cli import application

    spans = (span.split() for span in re.findall(r"`(retrieval\s[^`]+)`", prose()))
    trainings = [words[2:] for words in spans if words[1] == "train" and any(word[:2] == "--" for word in words)]
    assert "early-exit" in {arguments[0] for arguments in trainings}
    for arguments in trainings:
        application.commands["train"].make_context("train", list(arguments))  # raises on what is missing


def names_of(command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help"}


def test_the_commands_run_on_a_lexical_index(prepared, capsys):
    """All but `doctor` and `train`, and what it makes, with `--no-dense` added to `index`: nothing else is changed.

    A pipeline with vectors is refused there.
    """
    for arguments in commands():
        if arguments[0] in ("doctor", "train") or {"my-model", "mono=my-reranker"} & set(arguments):
            continue
        if any("dense:" in argument for argument in arguments):
            assert run_here(*arguments) == 2
            assert "needs vectors" in capsys.readouterr().err
            continue
        lexical = ["--no-dense"] if arguments[0] == "index" else []
        assert run_here(*arguments, *lexical) == 0, capsys.readouterr().err
        check_output(arguments, capsys.readouterr().out)


@pytest.mark.slow
def test_the_commands_run_as_they_stand_without_a_network(prepared, offline):
    for arguments in commands():
        done, attempts = offline("-m", "retrieval", *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        assert not attempts, arguments
        check_output(arguments, done.stdout)


def run_here(*arguments: str) -> object:
    from retrieval.cli import main

    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    return leaving.value.code


def check_output(arguments: list[str], output: str) -> None:
    expected = {
        "search": ["a2", "bird"],
        "evaluate": ["nDCG@10", "R@100", "RR@10", "AP@100", "p50", "p95"],
        "tune": ["nDCG@10", "best: bm25:10", "1 of 1 rankings"],
        "compare": ["Birds", "bm25", "nDCG@10"],
        "probe": ["uniformity", "alignment"],
        "delete": ["2"],
        "info": ["documents"],
        "doctor": ["all is well"],
    }
    for text in expected.get(arguments[0], []):
        assert text in output, f"{arguments}: {output}"


def test_exit_statuses_and_errors_are_as_described(prepared, capsys):
    assert run_here("search", "nothing.index", "birds") == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert run_here("search", "nothing.index", "birds", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err

    assert run_here("index", "my.index", "corpus.jsonl", "--no-dense", "--json") == 0
    assert json.loads(capsys.readouterr().out)
    damaged = next((prepared / "my.index" / "parts").glob("*/texts-bytes.npy"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert run_here("verify", "my.index") == 1


# -------------------------------------------------------------------------------------------- what it says in words


def test_a_collection_lies_on_disk_as_described(prepared):
    import numpy as np

    from retrieval import Collection

    collection = Collection.create("my.index", encoder=None)
    own = [{"id": str(number), "text": f"text {number}"} for number in range(4)]
    collection.add(own, vectors=np.eye(4, dtype=np.float32))
    before = {path: path.read_bytes() for path in Path("my.index").rglob("*") if path.is_file()}
    collection.delete("0")
    changed = {path for path, content in before.items() if not path.exists() or path.read_bytes() != content}
    assert changed == {Path("my.index/manifest.json")}
    collection.optimize("hnsw")

    listing = next(block.code for block in blocks("") if block.code.startswith("my.index/"))
    described = {line.split()[0].rstrip("/") for line in listing.splitlines()[1:]}
    described.remove("staging")  # is there while texts are encoded
    assert described == parts_of(Path("my.index"))


def parts_of(index: Path) -> set[str]:
    paths = [path for path in index.iterdir() if path.name != "parts"] + list((index / "parts").iterdir())
    return {path.relative_to(index).as_posix() for path in paths}


def test_incremental_answers_are_those_of_an_index_built_anew(prepared):
    """Bit for bit, for given vectors as for words."""
    import numpy as np

    from retrieval import Collection

    random = np.random.default_rng(0)
    vectors = {str(number): random.standard_normal(16).astype(np.float32) for number in range(40)}
    texts = {name: " ".join(random.choice(["owl", "swift", "stork", "sleep"], 5)) for name in vectors}

    def add(collection: Collection, names: list[str]) -> None:
        rows = [{"id": name, "text": texts[name]} for name in names]
        collection.upsert(rows, vectors=np.stack([vectors[name] for name in names]))

    changed = Collection.create("changed.index", encoder=None)
    add(changed, list(vectors)[:25])
    add(changed, list(vectors)[25:])
    changed.delete(["3", "30"])
    texts["7"], vectors["7"] = "an owl", vectors["8"]
    add(changed, ["7"])
    anew = Collection.create("anew.index", encoder=None)
    add(anew, list(changed.ids()))

    for mode in ("bm25", "dense", "hybrid"):
        query = {"mode": mode, "k": 40} | ({} if mode == "bm25" else {"vector": vectors["1"]})
        found = [[(hit.id, hit.score) for hit in each.search("owl sleep", **query)] for each in (changed, anew)]
        assert found[0] == found[1]
        assert found[0]


def test_names_in_the_prose_exist():
    import retrieval
    from retrieval.standard_library import standard_library_documents  # noqa: F401

    for span in code_spans():
        if re.fullmatch(r"(?:retrieval|indexes|eval)(?:\.\w+)+", span):
            module, _, name = span.rpartition(".")
            named = importlib.import_module(module)
            is_module = hasattr(named, "__path__") and importlib.util.find_spec(span) is not None
            assert is_module or hasattr(named, name), span
    given = {"function": lambda texts: [[1.0, 0.0]] * len(texts), "metadata": {}}
    given |= {name: name for name in ("id", "text", "title")}
    calls = [span for span in code_spans() if re.fullmatch(r"[A-Z]\w+\(.*\)", span)]
    assert len(calls) >= 3
    for span in calls:
        assert eval(span, {name: getattr(retrieval, name) for name in retrieval.__all__}, given) is not None


def test_numbers_in_the_prose_are_the_defaults():
    from retrieval import Fusion

    words = " ".join(prose().split())
    assert f"fuses the first {Fusion().depth:,} of each list by reciprocal rank (constant {Fusion().constant})" in words


def test_files_targets_and_extras_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
    for span in code_spans():
        if span.endswith("/") and "…" not in span:
            assert (ROOT / span).is_dir(), span
    layout = next(block.code for block in blocks("") if block.code.startswith("indexes/"))
    for line in layout.splitlines():
        assert (ROOT / line.split()[0]).is_dir()
    assert all((ROOT / "notebooks" / name).is_file() for name in re.findall(r"\S+\.ipynb", layout))

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    documents = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^|`)(?:\w+=\S+ )?make ([a-z]+)", documents, re.MULTILINE))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"extra `([\w-]+)`", README):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_every_snowball_language_has_a_stemmer():
    import Stemmer

    from retrieval import Analyser, AnalyserSettings

    for language in Stemmer.algorithms():
        if language not in ("porter", "lovins", "dutch_porter"):  # other algorithms, not languages
            assert Analyser(AnalyserSettings(language=language)).terms("katalog")
