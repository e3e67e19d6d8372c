import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.hits import Hits, merge_hits, select_top

SCORES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5]), max_size=30)


@given(SCORES, st.integers(0, 40))
def test_select_top_equals_sorting_everything(scores, k):
    rows = np.arange(len(scores))
    found_rows, found_scores = select_top(np.array(scores), rows, k)
    expected = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:k]
    assert found_rows.tolist() == expected
    assert found_scores.tolist() == [scores[row] for row in expected]


@pytest.mark.parametrize("few", [0, 256])
@given(parts=st.lists(SCORES, max_size=4), k=st.integers(0, 40), random=st.randoms())
def test_merging_segments_equals_one_sorted_list(few, parts, k, random):
    total = sum(map(len, parts))
    sequences = list(range(total))
    random.shuffle(sequences)
    everything, hits, first = [], [], 0
    for number, scores in enumerate(parts):
        mine = np.array(sorted(sequences[first : first + len(scores)]), np.int64)
        first += len(scores)
        rows, best = select_top(np.array(scores), np.arange(len(scores)), len(scores))
        hits.append(Hits.of_segment(number, rows, best, mine))
        everything += [(-score, mine[row], number, row) for row, score in enumerate(scores)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexes.hits._FEW", few)
        merged = merge_hits(hits, k)
    expected = sorted(everything)[:k]
    assert merged.scores.tolist() == [-score for score, *_ in expected]
    assert merged.sequences.tolist() == [sequence for _, sequence, *_ in expected]
    assert list(zip(merged.segments.tolist(), merged.rows.tolist(), strict=True)) == [(n, r) for _, _, n, r in expected]
