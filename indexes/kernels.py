"""The loops of the inverted index, compiled by numba. Import this module inside functions only: it loads numba.

Read top to bottom: dictionary look-up, building (collapse tokens, transpose lists), merging (count and copy lists), and
search (heap, windows). Integers read from files are checked before they are used as positions: a kernel returns False,
or a negative number, instead of touching memory that is not its own, whatever a file holds.

Lists of lists are stored flat: list i is `values[offsets[i]:offsets[i + 1]]`. The forward lists hold the terms of each
document, the postings the documents of each term; each is the transpose of the other.
"""

from __future__ import annotations

import numpy as np

from indexes.compilation import kernel

WINDOW = 1 << 15
"""Documents scored at a time: their 256 KiB of sums stay in the processor's second-level cache."""

SPARSE_SHARE = 8
"""A window is sparse when it has less than one posting for this many documents."""


# --- Dictionary -------------------------------------------------------------------------------------------------------


@kernel
def find_terms(blob, offsets, wanted, wanted_offsets, found):  # noqa: ANN001, ANN201
    """Write to `found` the number of each wanted byte string in a sorted list of byte strings, or -1; binary search."""
    for number in range(len(found)):
        begin, end = wanted_offsets[number], wanted_offsets[number + 1]
        low, high = 0, len(offsets) - 1
        found[number] = -1
        while low < high:
            middle = (low + high) // 2
            first, last = offsets[middle], offsets[middle + 1]
            if first < 0 or last < first or last > len(blob):
                return False
            order = 0
            for step in range(min(last - first, end - begin)):
                order = int(blob[first + step]) - int(wanted[begin + step])
                if order != 0:
                    break
            if order == 0:
                order = (last - first) - (end - begin)
            if order == 0:
                found[number] = middle
                break
            if order < 0:
                low = middle + 1
            else:
                high = middle
    return True


# --- Building ---------------------------------------------------------------------------------------------------------


@kernel
def collapse(tokens, run_ends, run_weights, run_counts, slots, terms, frequencies, offsets, lengths):  # noqa: ANN001, ANN201
    """Turn documents' tokens into (term, frequency) pairs, one for each distinct term, in order of first occurrence.

    A document consists of `run_counts[document]` runs, the tokens of run r ending at `run_ends[r]` and counting
    `run_weights[r]` each. `slots[term]` is where the term was last written: before the document's first pair means that
    the document has not had it yet, so that nothing is reset between documents. Negative tokens are left out.

    Returns:
        The number of pairs.
    """
    position = run = pairs = 0
    for document in range(len(run_counts)):
        begin = pairs
        offsets[document] = begin
        for _ in range(run_counts[document]):
            weight = run_weights[run]
            while position < run_ends[run]:
                term = tokens[position]
                position += 1
                if term < 0:
                    continue
                lengths[document] += weight
                slot = slots[term]
                if slot < begin:
                    slots[term] = slot = pairs
                    terms[pairs] = term
                    frequencies[pairs] = 0
                    pairs += 1
                frequencies[slot] += weight
            run += 1
    offsets[len(run_counts)] = pairs
    return pairs


@kernel
def transpose(offsets, columns, values, first, cursors, rows_out, values_out):  # noqa: ANN001, ANN201
    """Distribute lists' entries over their columns: a stable counting sort, so that each column's rows ascend.

    Only the columns first, first + 1, ... first + len(cursors) - 1 are written; `cursors` holds where each begins in
    the output and, afterwards, where it ends.
    """
    for row in range(len(offsets) - 1):
        for position in range(offsets[row], offsets[row + 1]):
            column = columns[position] - first
            if column < 0 or column >= len(cursors):
                continue
            target = cursors[column]
            if target >= len(rows_out):
                return False
            rows_out[target] = row
            values_out[target] = values[position]
            cursors[column] = target + 1
    return True


# --- Merging ----------------------------------------------------------------------------------------------------------


@kernel
def count_terms(offsets, terms, rows, counts):  # noqa: ANN001, ANN201
    """Add one to `counts[term]` for each term of each document in `rows`."""
    for row in rows:
        begin, end = offsets[row], offsets[row + 1]
        if begin < 0 or end > len(terms):
            return False
        for position in range(begin, end):
            term = terms[position]
            if term < 0 or term >= len(counts):
                return False
            counts[term] += 1
    return True


@kernel
def copy_documents(offsets, terms, frequencies, rows, renumbered, targets, terms_out, frequencies_out):  # noqa: ANN001, ANN201
    """Copy the forward list of each of `rows` to its target position, with the terms' new numbers."""
    for number in range(len(rows)):
        begin, end = offsets[rows[number]], offsets[rows[number] + 1]
        target = targets[number]
        if begin < 0 or end > len(terms) or target + (end - begin) > len(terms_out):
            return False
        for position in range(begin, end):
            term = terms[position]
            if term < 0 or term >= len(renumbered) or renumbered[term] < 0:
                return False
            terms_out[target] = renumbered[term]
            frequencies_out[target] = frequencies[position]
            target += 1
    return True


# --- Search: the best k so far ----------------------------------------------------------------------------------------
# A binary heap with the worst entry at its root, which is the one that a better document replaces.


@kernel
def _is_worse(score, row, other_score, other_row):  # noqa: ANN001, ANN202
    """Tell whether a document comes after another: lower score, or an equal one in a later row."""
    return score < other_score or (score == other_score and row > other_row)


@kernel
def _sink(scores, rows, size, score, row):  # noqa: ANN001, ANN202
    """Replace the root and let the new entry sink to its place."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _is_worse(scores[child + 1], rows[child + 1], scores[child], rows[child]):
            child += 1
        if not _is_worse(scores[child], rows[child], score, row):
            break
        scores[hole], rows[hole] = scores[child], rows[child]
        hole = child
    scores[hole], rows[hole] = score, row


@kernel
def _offer(scores, rows, size, score, row):  # noqa: ANN001, ANN202
    """Keep a document if it is among the best len(scores); return how many are kept."""
    if size == len(scores):
        if _is_worse(scores[0], rows[0], score, row):
            _sink(scores, rows, size, score, row)
        return size
    hole = size
    while hole > 0:
        parent = (hole - 1) // 2
        if not _is_worse(score, row, scores[parent], rows[parent]):
            break
        scores[hole], rows[hole] = scores[parent], rows[parent]
        hole = parent
    scores[hole], rows[hole] = score, row
    return size + 1


@kernel
def _sort(scores, rows, size):  # noqa: ANN001, ANN202
    """Order a heap best first: the worst of those that remain goes to the end, again and again."""
    for last in range(size - 1, 0, -1):
        score, row = scores[last], rows[last]
        scores[last], rows[last] = scores[0], rows[0]
        _sink(scores, rows, last, score, row)


# --- Search: windows of documents -------------------------------------------------------------------------------------
# Term at a time, window by window (the way of Lucene's BooleanScorer): all lists are read as far as the window goes, each
# adding its part to the sums of the window's documents. A document's sum thus grows in the order of the lists, which is
# the order of the terms, and does not depend on the window, on the segment, nor on other documents.


@kernel
def _accumulate(rows, frequencies, norms, base, position, end, weight, sums):  # noqa: ANN001, ANN202
    """Add one term's scores to the sums of the documents base, base + 1, ...; return where its list goes on.

    The term adds weight * tf / (tf + norm) (BM25's saturation of the term frequency; see `indexes.bm25`).
    """
    width = np.uint64(len(norms))
    first = np.uint64(base)
    while position < end:
        # Unsigned, so that a row before the window is as far out of it as one behind: one comparison guards both.
        local = np.uint64(rows[position]) - first
        if local >= width:
            break
        frequency = float(frequencies[position])
        sums[local] += weight * (frequency / (frequency + norms[local]))
        position += 1
    return position


@kernel
def _collect(sums, base, allowed, floor, scores, kept, size):  # noqa: ANN001, ANN202
    """Offer the window's documents to the heap and clear their sums; return the heap's size."""
    for local in range(len(sums)):
        score = sums[local]
        sums[local] = 0.0
        if score >= floor and (len(allowed) == 0 or allowed[base + local]):
            size = _offer(scores, kept, size, score, base + local)
            if size == len(scores):
                floor = max(floor, scores[0])
    return size


@kernel
def _collect_listed(sums, base, rows, begins, ends, allowed, floor, scores, kept, size):  # noqa: ANN001, ANN202
    """Do what `_collect` does by reading the window's postings again, which are few: rows[begins[i]:ends[i]]."""
    for number in range(len(begins)):
        for position in range(begins[number], ends[number]):
            row = rows[position]
            score = sums[row - base]
            sums[row - base] = 0.0
            if score >= floor and (len(allowed) == 0 or allowed[row]):
                size = _offer(scores, kept, size, score, row)
                if size == len(scores):
                    floor = max(floor, scores[0])
    return size


@kernel
def _search_one(begins, cursors, ends, weights, rows, frequencies, norms, allowed, floor, sums, scores, kept):  # noqa: ANN001, ANN202
    """Find one query's best documents, best first; return how many, or -1 where a list is not what it should be."""
    size = 0
    for base in range(0, len(norms), WINDOW):
        window_norms = norms[base : base + WINDOW]
        postings = 0
        for number in range(len(weights)):
            begins[number] = cursors[number]
            cursors[number] = _accumulate(
                rows, frequencies, window_norms, base, begins[number], ends[number], weights[number], sums
            )
            postings += cursors[number] - begins[number]
        if postings == 0:
            continue
        if size == len(scores):
            floor = max(floor, scores[0])
        if postings * SPARSE_SHARE < len(window_norms):
            size = _collect_listed(sums, base, rows, begins, cursors, allowed, floor, scores, kept, size)
        else:
            size = _collect(sums[: len(window_norms)], base, allowed, floor, scores, kept, size)
    for number in range(len(weights)):
        if cursors[number] < ends[number]:  # a row outside the index, or before its predecessor, stopped the list
            return -1
    _sort(scores, kept, size)
    return size


@kernel
def search(bounds, starts, ends, weights, rows, frequencies, norms, allowed, floors, scores, kept, counts):  # noqa: ANN001, ANN201
    """Find the best documents of one segment for several queries.

    Args:
        bounds: (n_queries + 1,) int64; query q has the lists bounds[q]:bounds[q + 1], in the order of their terms.
        starts: (n_lists,) int64, first posting of each list; must lie inside `rows`.
        ends: (n_lists,) int64, one past the last; must lie inside `rows`.
        weights: (n_lists,) float64, what a list's saturated term frequencies are multiplied with.
        rows: (n_postings,) int32, documents, ascending in each list.
        frequencies: (n_postings,) uint32.
        norms: (n_documents,) float64, what is added to a document's term frequencies below the fraction.
        allowed: (n_documents,) bool, which may be returned; empty allows all.
        floors: (n_queries,) float64, positive; documents below are not needed. Raised to the k-th best score.
        scores: (n_queries, k) float64, output.
        kept: (n_queries, k) int64, rows, output.
        counts: (n_queries,) int64, how many were found, output.

    Returns:
        Whether all lists were in order.
    """
    sums = np.zeros(min(WINDOW, len(norms)))
    cursors, begins = starts.copy(), starts.copy()
    for query in range(len(counts)):
        lists = slice(bounds[query], bounds[query + 1])
        counts[query] = _search_one(
            begins[lists], cursors[lists], ends[lists], weights[lists], rows, frequencies, norms, allowed,
            floors[query], sums, scores[query], kept[query],
        )  # fmt: skip
        if counts[query] < 0:
            return False
        if counts[query] == scores.shape[1] > 0:
            floors[query] = max(floors[query], scores[query, scores.shape[1] - 1])
    return True
