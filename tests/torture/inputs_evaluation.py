"""Runs, judgements, queries and test sets from mutated files; runs that are written and read again."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from eval.errors import EvaluationError, RunError
from eval.qrels import read_qrels
from eval.runs import read_run, write_run
from eval.testsets import read_queries, read_testset
from tests.torture.fuzzing import guarded, mutate, try_many
from tests.torture.outcome import Outcome, Profile

_RUN = b"q1 Q0 d1 1 2.5 tag\nq1 Q0 d2 2 1.5e-3 tag\nq2 Q0 d\xc3\xa9 1 -0.5 tag\n"
_TREC = b"q1 0 d1 1\nq1 0 d2 0\nq2 0 d3 2\n"
_BEIR = b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td3\t2\n"
_TAB_QUERIES = b"q1\tfirst query\nq2\tsecond \xc3\xa9\n"
_JSON_QUERIES = b'{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "\\u00e9", "metadata": {}}\n'
_FILES: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "run.txt": (_RUN, read_run),
    "qrels.trec": (_TREC, read_qrels),
    "qrels.beir": (_BEIR, read_qrels),
    "queries.tsv": (_TAB_QUERIES, read_queries),
    "queries.jsonl": (_JSON_QUERIES, read_queries),
}
_IDS = st.text(st.characters(), min_size=1, max_size=6) | st.sampled_from(["q1", "\ufeffq", "\ud800", "a b", "", "#"])
_SCORES = st.floats() | st.sampled_from([0.0, -0.0, 1e308, 5e-324, 3.5e38]) | st.integers(-(10**9), 10**9)
_RUNS = st.dictionaries(
    _IDS,
    st.dictionaries(_IDS, _SCORES, max_size=4).map(lambda scores: sorted(scores.items(), key=_falling)),
    max_size=3,
)


def _falling(item: tuple[str, float]) -> float:
    return 0.0 if math.isnan(item[1]) else -item[1]


def attack_evaluation(profile: Profile, folder: Path) -> Outcome:
    """Attack the readers of evaluation files."""
    outcome = Outcome("files of evaluation", "inputs")
    generator = random.Random(f"evaluation {profile.seed}")
    for name, (data, reader) in _FILES.items():
        for number in range(profile.pick(short=80, long=5000)):
            changed = mutate(generator, data)
            what = f"{name}, seed {profile.seed}, try {number}, {changed[:200]!r}"
            guarded(outcome, what, _reads(folder / name, changed, reader))
    _attack_testsets(outcome, profile, folder / "testset", generator)
    examples = profile.pick(short=60, long=4000)
    check = _round_trip(folder / "written.run")
    strategy = st.tuples(_RUNS, st.booleans())
    try_many(outcome, "runs written and read", strategy, check, examples=examples, start=profile.seed)
    return outcome


def _attack_testsets(outcome: Outcome, profile: Profile, folder: Path, generator: random.Random) -> None:
    (folder / "qrels").mkdir(parents=True)
    corpus = "".join(json.dumps({"_id": f"d{number}", "text": "x"}) + "\n" for number in range(4)).encode()
    parts = {"qrels/test.tsv": _BEIR, "queries.jsonl": _JSON_QUERIES, "corpus.jsonl": corpus}
    for number in range(profile.pick(short=20, long=2000)):
        chosen = generator.choice(list(parts))
        for name, data in parts.items():
            (folder / name).write_bytes(mutate(generator, data) if name == chosen else data)
        guarded(outcome, f"test set, seed {profile.seed}, try {number}, {chosen}", lambda: _read_testset(folder))


def _read_testset(folder: Path) -> None:
    try:
        found = read_testset(folder)
    except EvaluationError:
        return
    assert set(found.queries) | set(found.queries_without_text) == set(found.qrels)
    assert found.corpus is not None
    assert len(list(found.corpus)) == found.corpus.report.read


def _reads(path: Path, data: bytes, reader: Callable[[Path], Any]) -> Callable[[], None]:
    def attack() -> None:
        path.write_bytes(data)
        try:
            found = reader(path)
        except EvaluationError as error:
            assert path.name in str(error), "an error that does not name the file"
            assert "\n" not in str(error)
        else:
            assert found == reader(path)
            assert all(isinstance(key, str) and key for key in found)

    return attack


def _round_trip(path: Path) -> Callable[[tuple[dict[str, list[tuple[str, float]]], bool]], None]:
    def check(case: tuple[dict[str, list[tuple[str, float]]], bool]) -> None:
        run, exact = case
        path.unlink(missing_ok=True)
        try:
            write_run(path, run, exact_scores=exact)
        except RunError:
            assert not path.exists(), "a run that was refused, and is there"
            return
        found = read_run(path)
        expected = {query_id: ranking for query_id, ranking in run.items() if ranking}
        assert list(found) == list(expected)
        for query_id, ranking in expected.items():
            assert [document_id for document_id, _ in found[query_id]] == [document_id for document_id, _ in ranking]
            if exact:
                assert [score for _, score in found[query_id]] == [float(score) for _, score in ranking]

    return check
