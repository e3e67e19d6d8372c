from __future__ import annotations

import gzip
import json
import math
import re
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.bm25 import BM25Searcher, BM25Settings, LexicalSegment, inverse_document_frequency
from indexes.errors import CorruptIndexError
from indexes.inverted import InvertedIndex, InvertedIndexWriter, merge_inverted

EXAMPLES = settings.default.max_examples  # of the profile
PARAMETERS = [(1.2, 0.75), (0.9, 0.4), (1.5, 0.0), (0.0, 0.75), (2.0, 1.0)]
WORDS = ["a", "b", "ba", "c", "é", "日本", "z"]


def build(directory, documents, weights=(1,)):
    """Write the index of documents, each a tuple of token lists (fields), and open it."""
    numbers, writer = {}, InvertedIndexWriter()
    for fields in documents:
        ids = [[numbers.setdefault(token, len(numbers)) for token in tokens] for tokens in fields]
        writer.add(list(zip(ids, weights, strict=True)))
    directory.mkdir(parents=True, exist_ok=True)
    writer.write(directory, list(numbers))
    return InvertedIndex.open(directory)


def segment(directory, documents, alive=None, sequences=None, weights=(1,)):
    index = build(directory, documents, weights)
    sequences = np.arange(len(documents)) if sequences is None else np.array(sequences, np.int64)
    return LexicalSegment(index, None if alive is None else np.array(alive, bool), sequences)


def plain_bm25(documents, query, k1, b, weights=(1.0,)):
    """Score every document by the textbook, in plain Python."""
    counts = []
    for fields in documents:
        count = Counter()
        for tokens, weight in zip(fields, weights, strict=True):
            for token in tokens:
                count[token] += weight
        counts.append(count)
    average = sum(sum(count.values()) for count in counts) / max(len(counts), 1)
    scores = [0.0] * len(counts)
    for term in sorted(query):
        df = sum(term in count for count in counts)
        idf = math.log(1 + (len(counts) - df + 0.5) / (df + 0.5))
        for row, count in enumerate(counts):
            if count[term]:
                norm = k1 * (1 - b + b * sum(count.values()) / average)
                scores[row] += query[term] * idf * count[term] / (count[term] + norm)
    return scores


def found(hits):
    """Return what can be compared between different segmentations: (sequence, score) pairs, best first."""
    assert hits.scores.dtype == np.float64
    assert len(hits.segments) == len(hits.rows) == len(hits.scores) == len(hits.sequences)
    return list(zip(hits.sequences.tolist(), hits.scores.tolist(), strict=True))


def assert_same(hits, others):
    for mine, other in zip(hits, others, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == other.dtype


TOKENS = st.lists(st.sampled_from(WORDS), max_size=10)
QUERIES = st.dictionaries(st.sampled_from([*WORDS, "unknown", ""]), st.floats(0.1, 10), max_size=5)


# --- The formula ------------------------------------------------------------------------------------------------------


def test_by_hand(tmp_path):
    """Two documents, lengths 3 and 1, average 2; 'a' is in both, 'b' in the first."""
    searcher = BM25Searcher([segment(tmp_path, [(["a", "a", "b"],), (["a"],)])], BM25Settings(k1=1.0, b=0.5))
    hits = searcher.search({"a": 1.0, "b": 2.0}, 10)
    idf_a, idf_b = math.log(1 + 0.5 / 2.5), math.log(1 + 1.5 / 1.5)
    assert hits.rows.tolist() == [0, 1]
    assert hits.scores[0] == pytest.approx(idf_a * 2 / (2 + 1.25) + 2 * idf_b * 1 / (1 + 1.25), rel=1e-15)
    assert hits.scores[1] == pytest.approx(idf_a * 1 / (1 + 0.75), rel=1e-15)


@given(documents=st.lists(TOKENS.map(lambda tokens: (tokens,)), max_size=12), query=QUERIES, k=st.integers(1, 15))
@settings(max_examples=EXAMPLES // 3)
def test_equals_the_textbook(documents, query, k):
    with tempfile.TemporaryDirectory() as name:
        part = segment(Path(name), documents)
        for k1, b in PARAMETERS:
            expected = plain_bm25(documents, query, k1, b)
            hits = BM25Searcher([part], BM25Settings(k1, b)).search(query, k)
            positive = sum(score > 0 for score in expected)
            assert len(hits.rows) == min(k, positive)
            np.testing.assert_allclose(hits.scores, [expected[row] for row in hits.rows], rtol=1e-12)
            np.testing.assert_allclose(hits.scores, sorted(expected, reverse=True)[: len(hits.rows)], rtol=1e-12)


def test_field_boosts_in_units(tmp_path):
    """A title that counts 2.5 times a text: weights 5 and 2 in units of 1/2."""
    documents = [(["a", "b"], ["a", "c", "c"]), (["c"], ["a"]), ([], ["b", "b", "a", "d"])]
    query = {"a": 1.0, "b": 1.0, "c": 0.5}
    part = segment(tmp_path, documents, weights=(5, 2))
    searcher = BM25Searcher([part], BM25Settings(1.2, 0.75), unit=2)
    expected = plain_bm25(documents, query, 1.2, 0.75, weights=(2.5, 1.0))
    hits = searcher.search(query, 3)
    np.testing.assert_allclose(hits.scores, [expected[row] for row in hits.rows], rtol=1e-13)
    assert [term.frequency for term in searcher.explain(query, 0, 0)] == [3.5, 2.5, 2.0]


def zipfian_documents(n_documents, n_terms, seed):
    generator = np.random.default_rng(seed)
    for length in generator.poisson(25, n_documents):
        yield ([f"t{term}" for term in (generator.zipf(1.3, length) % n_terms).tolist()],)


def assert_equal_to_bm25s(directory, documents, queries, k1, b):
    import bm25s

    vocabulary = {token: number for number, token in enumerate(sorted({t for (tokens,) in documents for t in tokens}))}
    peer = bm25s.BM25(k1=k1, b=b, method="lucene")
    corpus = [[vocabulary[token] for token in tokens] for (tokens,) in documents]
    peer.index((corpus, vocabulary), show_progress=False)
    searcher = BM25Searcher([segment(directory, documents)], BM25Settings(k1, b))
    every = np.arange(len(documents))
    for tokens, hits in zip(queries, searcher.search_many([Counter(tokens) for tokens in queries], 20), strict=True):
        known = [vocabulary[token] for token in tokens if token in vocabulary]
        if not known:
            assert len(hits.rows) == 0
            continue
        expected = peer.get_scores_from_ids(known)
        np.testing.assert_allclose(searcher.score(Counter(tokens), 0, every), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(hits.scores, np.sort(expected)[::-1][: len(hits.rows)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("k1", "b"), PARAMETERS[:2])
def test_equals_bm25s_on_zipfian_documents(tmp_path, k1, b):
    documents = list(zipfian_documents(1500, 3000, 1))
    queries = [tokens[:7] for (tokens,) in zipfian_documents(60, 3300, 2)]
    assert_equal_to_bm25s(tmp_path, documents, queries, k1, b)


@pytest.mark.parametrize(("k1", "b"), PARAMETERS[:2])
def test_equals_bm25s_on_scifact(tmp_path, data_folder, k1, b):
    folder = data_folder("scifact")

    def read(name):
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    tokens = re.compile(r"\w+").findall
    documents = [(tokens(f"{line['title']} {line['text']}".lower()),) for line in read("corpus.jsonl.gz")[:2500]]
    queries = [tokens(line["text"].lower()) for line in read("queries.jsonl.gz")[:40]]
    assert_equal_to_bm25s(tmp_path, documents, queries, k1, b)


def test_idf_is_positive_for_every_term():
    assert all(inverse_document_frequency(n, df) > 0 for n in range(1, 50) for df in range(1, n + 1))
    assert inverse_document_frequency(10**9, 10**9) > 0


# --- Segments, deletions, masks ---------------------------------------------------------------------------------------


@given(
    documents=st.lists(TOKENS.map(lambda tokens: (tokens,)), max_size=14),
    query=QUERIES,
    k=st.integers(0, 16),
    parameters=st.sampled_from(PARAMETERS),
    data=st.data(),
)
@settings(max_examples=EXAMPLES // 3)
def test_segments_with_deletions_equal_one_new_index(documents, query, k, parameters, data):
    """Bit-equal, ties included, however the documents are spread, deleted and masked; and so after merging."""
    size, n_parts = len(documents), data.draw(st.integers(1, 4))
    parts = data.draw(st.lists(st.integers(0, n_parts - 1), min_size=size, max_size=size))
    alive = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    allowed = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    masked = data.draw(st.booleans())
    bm25 = BM25Settings(*parameters)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        segments, masks = [], []
        for part in range(n_parts):
            own = [sequence for sequence in range(size) if parts[sequence] == part]
            living = [alive[sequence] for sequence in own]
            segments.append(segment(root / str(part), [documents[sequence] for sequence in own], living, own))
            masks.append(np.array([allowed[sequence] for sequence in own], bool) if data.draw(st.booleans()) else None)
            for sequence in own if masks[-1] is None else []:
                allowed[sequence] = True
        survivors = [sequence for sequence in range(size) if alive[sequence]]
        new = segment(root / "new", [documents[sequence] for sequence in survivors], None, survivors)
        rebuilt = BM25Searcher([new], bm25)
        new_mask = [np.array([allowed[sequence] for sequence in survivors], bool)] if masked else None
        searcher = BM25Searcher(segments, bm25)
        hits = searcher.search(query, k, masks if masked else None)
        assert found(hits) == found(rebuilt.search(query, k, new_mask))

        (root / "merged").mkdir()
        kept = [(part.index, np.flatnonzero(part.alive)) for part in segments]
        order = np.argsort(np.concatenate([part.sequences[part.alive] for part in segments]))
        merge_inverted(kept, order, root / "merged")
        merged = LexicalSegment(InvertedIndex.open(root / "merged"), None, np.array(survivors, np.int64))
        assert_same(BM25Searcher([merged], bm25).search(query, k, new_mask), rebuilt.search(query, k, new_mask))

        for number, row, score in zip(hits.segments.tolist(), hits.rows.tolist(), hits.scores.tolist(), strict=True):
            contributions = searcher.explain(query, number, row)
            total = 0.0
            for contribution in contributions:
                total += contribution.score
            assert total == score
            assert [contribution.term for contribution in contributions] == sorted(
                {*query} & {*documents[int(segments[number].sequences[row])][0]}
            )
            assert searcher.score(query, number, np.array([row])).tolist() == [score]


def test_explanation_names_what_counts(tmp_path):
    parts = [
        segment(tmp_path / "0", [(["a", "b", "a"],), (["a"],)], alive=[True, False], sequences=[0, 2]),
        segment(tmp_path / "1", [(["b"],)], sequences=[1]),
    ]
    (a, b) = BM25Searcher(parts, BM25Settings()).explain({"b": 2.0, "a": 1.0, "x": 5.0}, 0, 0)
    assert (a.term, a.frequency, a.document_frequency, a.weight) == ("a", 2.0, 1, 1.0)
    assert (b.term, b.frequency, b.document_frequency, b.weight) == ("b", 1.0, 2, 2.0)
    assert a.idf == pytest.approx(math.log(1 + 1.5 / 1.5))


def test_deleted_documents_stay_away_whatever_the_mask_says(tmp_path):
    part = segment(tmp_path, [(["a"],), (["a"],)], alive=[True, False])
    searcher = BM25Searcher([part], BM25Settings())
    assert searcher.search({"a": 1.0}, 5, [np.ones(2, bool)]).rows.tolist() == [0]
    assert searcher.search({"a": 1.0}, 5, [np.zeros(2, bool)]).rows.tolist() == []


def test_terms_of_deleted_documents_only(tmp_path):
    part = segment(tmp_path, [(["a"],), (["b"],)], alive=[True, False])
    searcher = BM25Searcher([part], BM25Settings())
    assert len(searcher.search({"b": 1.0}, 5).rows) == 0
    assert searcher.explain({"b": 1.0}, 0, 1) == []


def test_searchers_keep_their_own_tombstones(tmp_path):
    alive = np.ones(2, bool)
    alive[1] = False
    part = LexicalSegment(build(tmp_path, [(["a"],), (["a"],)]), alive, np.arange(2))
    searcher = BM25Searcher([part], BM25Settings())
    alive[:] = [False, True]
    assert searcher.search({"a": 1.0}, 5).rows.tolist() == [0]


def test_a_whole_number_of_daring_needs_no_machine_code_of_its_own(tmp_path):
    from indexes import kernels

    searcher = BM25Searcher([segment(tmp_path, [(["a"],)])], BM25Settings())
    searcher.search({"a": 1.0}, 1, daring=2.0)
    compiled = list(kernels.search.signatures)
    assert found(searcher.search({"a": 1.0}, 1, daring=2)) == found(searcher.search({"a": 1.0}, 1))
    assert kernels.search.signatures == compiled


@pytest.mark.parametrize("k", [0, -1])
def test_nothing_asked(tmp_path, k):
    searcher = BM25Searcher([segment(tmp_path, [(["a"],)])], BM25Settings())
    assert found(searcher.search({"a": 1.0}, k)) == []
    assert searcher.search_many([], 5) == []


@pytest.mark.parametrize("query", [{}, {"x": 1.0}, {"": 1.0}])
def test_nothing_found(tmp_path, query):
    parts = [
        segment(tmp_path / "full", [(["a"],)]),
        segment(tmp_path / "none", []),
        segment(tmp_path / "blank", [([],)]),
    ]
    for searched in (parts, parts[1:], parts[2:], []):
        searcher = BM25Searcher(searched, BM25Settings())
        assert found(searcher.search(query, 5)) == []
        assert found(searcher.search({"x": 2.0}, 5)) == []


def test_sequences_break_ties_across_segments(tmp_path):
    parts = [
        segment(tmp_path / "0", [(["a"],)] * 3, sequences=[1, 4, 5]),
        segment(tmp_path / "1", [(["a"],)] * 3, sequences=[0, 2, 3]),
    ]
    for k in range(1, 8):
        assert BM25Searcher(parts, BM25Settings()).search({"a": 1.0}, k).sequences.tolist() == list(range(min(k, 6)))


# --- More documents than a window -------------------------------------------------------------------------------------

N_LARGE = 70_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Seventy thousand documents: every one has 'all', few have 'rare', lengths differ, one has a term 70,000 times."""
    generator = np.random.default_rng(3)
    choices = generator.integers(0, 40, (N_LARGE, 4))
    documents = [(["all", *(f"t{term}" for term in row[: row[0] % 4 + 1])],) for row in choices.tolist()]
    for row in (5, 32_767, 32_768, 65_536, N_LARGE - 1):
        documents[row] = (["rare", *documents[row][0]],)
    documents[40_000] = (["often"] * 70_000,)
    directory = tmp_path_factory.mktemp("large")
    return segment(directory, documents, alive=generator.random(N_LARGE) < 0.95)


@pytest.mark.parametrize("k", [1, 10, 1000, N_LARGE, 10**12])
@pytest.mark.parametrize(
    "query", [["all"], ["rare"], ["often", "rare"], ["t1", "t2", "rare"], ["all", "t7"], ["t3"], ["rare", "t0", "all"]]
)
def test_windows_equal_scoring_every_document(large, query, k):
    searcher = BM25Searcher([large], BM25Settings())
    weights = dict.fromkeys(query, 1.0)
    scores = searcher.score(weights, 0, np.arange(N_LARGE))
    scores[~large.alive] = 0
    order = np.lexsort((np.arange(N_LARGE), -scores))[: min(k, int((scores > 0).sum()))]
    hits = searcher.search(weights, k)
    assert hits.rows.tolist() == order.tolist()
    assert hits.scores.tolist() == scores[order].tolist()


def test_frequencies_beyond_16_bits(large):
    (term,) = BM25Searcher([large], BM25Settings()).explain({"often": 1.0}, 0, 40_000)
    assert term.frequency == 70_000


def test_all_scores_tied(tmp_path):
    part = segment(tmp_path, [(["a"],)] * 40_000)
    for k in (1, 7, 39_999, 40_000, 50_000):
        hits = BM25Searcher([part], BM25Settings()).search({"a": 1.0}, k)
        assert hits.rows.tolist() == list(range(min(k, 40_000)))
        assert len(set(hits.scores.tolist())) == 1


def test_filter_that_leaves_little(large):
    mask = np.zeros(N_LARGE, bool)
    assert len(BM25Searcher([large], BM25Settings()).search({"all": 1.0}, 10, [mask]).rows) == 0
    chosen = np.flatnonzero(large.alive)[[3, 40_000, 60_000]]
    mask[chosen] = True
    hits = BM25Searcher([large], BM25Settings()).search({"all": 1.0}, 10, [mask])
    assert sorted(hits.rows.tolist()) == [row for row in chosen.tolist() if row != 40_000]


# --- Many queries, many threads ---------------------------------------------------------------------------------------


def test_threads_and_batches_change_nothing(large, tmp_path):
    other = segment(tmp_path, [([f"t{row % 40}", "all"],) for row in range(500)], sequences=range(10**6, 10**6 + 500))
    searcher = BM25Searcher([large, other], BM25Settings())
    generator = np.random.default_rng(4)
    queries = [{f"t{term}": 1.0 for term in generator.integers(0, 45, size)} for size in generator.integers(0, 9, 75)]
    queries += [{"all": 1.0}, {}, {"rare": 0.5}]
    alone = [searcher.search(query, 12) for query in queries]
    for threads in (1, 2, 5, None):
        for hits, expected in zip(searcher.search_many(queries, 12, threads=threads), alone, strict=True):
            assert_same(hits, expected)
    with ThreadPoolExecutor(4) as pool:
        for many in pool.map(lambda _: searcher.search_many(queries, 12, threads=2), range(4)):
            for hits, expected in zip(many, alone, strict=True):
                assert_same(hits, expected)


# --- Refusals and damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan, 1e300, 1e-300])
def test_weights_must_be_positive_and_finite(tmp_path, weight):
    searcher = BM25Searcher([segment(tmp_path, [(["a"],)])], BM25Settings())
    for use in (searcher.search, lambda query, _: searcher.explain(query, 0, 0)):
        with pytest.raises(ValueError, match="'a' has"):
            use({"a": weight}, 5)


@pytest.mark.parametrize(
    ("k1", "b"), [(-0.1, 0.5), (math.inf, 0.5), (math.nan, 0.5), (1, -0.1), (1, 1.1), (1, math.nan)]
)
def test_parameters_must_make_sense(k1, b):
    with pytest.raises(ValueError, match="must be"):
        BM25Settings(k1, b)


def test_scores_of_rows_that_do_not_exist_are_refused(tmp_path):
    searcher = BM25Searcher([segment(tmp_path / "i", [(["a"],), (["b"],)])], BM25Settings())
    for row in (-1, -2, 2):
        with pytest.raises(ValueError, match=f"rows from {row} to {row} of a segment of 2 documents"):
            searcher.score({"a": 1.0}, 0, np.array([row]))


def test_shapes_must_fit(tmp_path):
    index = build(tmp_path, [(["a"],), (["b"],)])
    with pytest.raises(ValueError, match=r"alive has shape \(3,\)"):
        LexicalSegment(index, np.ones(3, bool), np.arange(2))
    with pytest.raises(ValueError, match=r"sequences has shape \(1,\)"):
        LexicalSegment(index, None, np.arange(1))
    searcher = BM25Searcher([LexicalSegment(index, None, np.arange(2))], BM25Settings())
    with pytest.raises(ValueError, match="2 masks for 1 segments"):
        searcher.search({"a": 1.0}, 1, [None, None])
    with pytest.raises(ValueError, match=r"mask 0 has shape \(3,\)"):
        searcher.search({"a": 1.0}, 1, [np.ones(3, bool)])
    with pytest.raises(ValueError, match="unit must be at least 1"):
        BM25Searcher([], BM25Settings(), unit=0)


@pytest.mark.parametrize("rows", [[0, 2, 5], [1, 1, 2], [1, 0, 2], [0, 1, 65_535], [2, 1, 0]])
def test_impossible_postings_are_an_error_or_an_answer_not_a_crash(tmp_path, rows):
    """A search adds up whatever rows there are, and scores what it returns from the documents' own lists."""
    build(tmp_path, [(["a"],)] * 3)
    np.save(tmp_path / "postings-rows.npy", np.array(rows, np.uint16))
    index = InvertedIndex.open(tmp_path)
    searcher = BM25Searcher([LexicalSegment(index, None, np.arange(3))], BM25Settings())
    with pytest.raises(CorruptIndexError, match="postings"):
        index.rows_with(0)
    expected = searcher.score({"a": 1.0}, 0, np.arange(3)).tolist()
    hits = searcher.search({"a": 1.0}, 3)
    assert set(hits.rows.tolist()) == {row for row in rows if row < 3}
    assert hits.scores.tolist() == [expected[row] for row in hits.rows]


def test_chunks_out_of_order(large, tmp_path):
    shutil.copytree(large.index.directory, tmp_path / "copy")
    for file in ("windows", "sizes"):
        path = tmp_path / "copy" / f"postings-chunk-{file}.npy"
        values = np.load(path)
        begin, end = np.load(tmp_path / "copy" / "postings-chunk-offsets.npy")[[0, 1]]  # "all", the first term
        assert end - begin == 2
        values[begin:end] = values[begin:end][::-1].copy()
        np.save(path, values)
        index = InvertedIndex.open(tmp_path / "copy")
        part = LexicalSegment(index, None, large.sequences)
        with pytest.raises(CorruptIndexError, match="postings"):
            BM25Searcher([part], BM25Settings()).search({"all": 1.0}, 3)
        with pytest.raises(CorruptIndexError, match="postings"):
            index.rows_with(0)


FILES = [
    *("dictionary-bytes", "dictionary-offsets", "document-lists", "document-offsets", "frequency-classes", "lengths"),
    *(f"postings-chunk-{what}" for what in ("bounds", "offsets", "sizes", "windows")),
    *(f"postings-{what}" for what in ("offsets", "rows", "values")),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sound")
    build(directory, [(["a", "b", "a"],), ([],), (["c", "b"],), (["é", "日本"],), (["a", "z"],)])
    return directory


@given(
    file=st.sampled_from(FILES),
    changes=st.lists(
        st.tuples(
            st.integers(0, 60),
            st.sampled_from([-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 5, 9, 127, 128, 255, 2**16 - 1, 2**31 - 1, 2**62]),
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=EXAMPLES // 4)
def test_whatever_the_files_hold_nothing_crashes(sound, file, changes):
    """With any numbers in the files, every operation returns something or raises CorruptIndexError."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "index"
        shutil.copytree(sound, directory)
        values = np.load(directory / f"{file}.npy")
        flat = values.reshape(-1)
        for place, value in changes:
            limits = np.iinfo(values.dtype)
            flat[place % len(flat)] = min(max(value, limits.min), limits.max)
        np.save(directory / f"{file}.npy", values)
        alive = np.array([True, True, False, True, True])
        query = {"a": 1.0, "b": 1.0, "日本": 1.0}

        try:
            index = InvertedIndex.open(directory)
        except CorruptIndexError:
            return

        def searcher(mask):
            return BM25Searcher([LexicalSegment(index, mask, np.arange(5))], BM25Settings())

        def merge():
            merge_inverted([(index, np.array([0, 2, 3]))], np.arange(3), Path(name))
            InvertedIndex.open(Path(name))

        operations = [
            merge,
            lambda: list(index.dictionary),
            lambda: [index.rows_with(number) for number in range(5)],
            lambda: [index.document(number) for number in range(5)],
            lambda: index.document_frequencies(alive),
            lambda: index.document_frequencies(~alive),
            lambda: searcher(None).search(query, 3),
            lambda: searcher(alive).search(query, 3),
            lambda: searcher(alive).explain(query, 0, 0),
            lambda: searcher(alive).score(query, 0, np.arange(5)),
        ]
        for operation in operations:
            try:
                operation()
            except CorruptIndexError as error:
                assert str(Path(name)) in str(error)


def test_a_term_without_postings_is_no_traceback(tmp_path):
    build(tmp_path / "one", [(["a"],), (["b"],)])
    build(tmp_path / "two", [(["a"],), (["b"],)])
    np.save(tmp_path / "one" / "postings-offsets.npy", np.array([0, 0, 2]))  # "a" has lost its list
    np.save(tmp_path / "one" / "postings-chunk-offsets.npy", np.array([0, 0, 2]))
    parts = [LexicalSegment(InvertedIndex.open(tmp_path / name), None, np.arange(2)) for name in ("one", "two")]
    searcher = BM25Searcher(parts, BM25Settings())
    assert {row for _, row in zip(*searcher.search({"a": 1.0}, 5)[:2], strict=True)} == {0}
    alone = BM25Searcher(parts[:1], BM25Settings())
    assert alone.score({"a": 1.0}, 0, np.arange(2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("content", "offsets"),
    [
        ([0x80, 0x80], [0, 1, 2]),  # ends within a number
        ([0x01, 0x02], [0, 1, 2]),  # a frequency is announced and missing
        ([0x80] * 8 + [0x00, 0x00], [0, 9, 10]),  # longer than any number
        ([0x01, *[0xFF] * 6, 0x01, 0x00], [0, 8, 9]),  # a frequency that no index holds
    ],
)
def test_damaged_lists_of_documents_are_named(tmp_path, content, offsets):
    build(tmp_path, [(["a"],), (["b"],)])
    np.save(tmp_path / "document-lists.npy", np.array(content, np.uint8))
    np.save(tmp_path / "document-offsets.npy", np.array(offsets))
    index = InvertedIndex.open(tmp_path)
    searcher = BM25Searcher([LexicalSegment(index, None, np.arange(2))], BM25Settings())
    (tmp_path / "merged").mkdir()
    for use in (
        lambda: index.document(0),
        lambda: searcher.search({"a": 1.0}, 1),
        lambda: searcher.score({"a": 1.0}, 0, np.arange(2)),
        lambda: searcher.explain({"a": 1.0}, 0, 0),
        lambda: index.document_frequencies(np.array([True, False])),
        lambda: merge_inverted([(index, np.arange(2))], np.arange(2), tmp_path / "merged"),
        lambda: index.documents.total(2),
    ):
        with pytest.raises(CorruptIndexError, match=str(tmp_path)):
            use()


@pytest.mark.parametrize(
    "box", [[256, 1, 1, 1, 1], [-1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 2, 1, 1, 1], [0, 1, 1, -1, 1], [0, 1, 1, 2, 1]]
)
def test_impossible_classes_are_named_on_open(tmp_path, box):
    build(tmp_path, [(["a"],)])
    np.save(tmp_path / "frequency-classes.npy", np.array([box], np.int64))
    with pytest.raises(CorruptIndexError, match="frequency-classes"):
        InvertedIndex.open(tmp_path)
