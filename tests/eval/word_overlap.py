"""A small search engine and a test set for it, for tests of what runs and measures searches."""

from __future__ import annotations

from eval.query_runs import ScoredDocument
from eval.testsets import TestSet

DOCUMENTS = {
    "cats": "a cat is a small animal that hunts mice",
    "dogs": "a dog is an animal that barks at a cat",
    "rust": "rust is what iron becomes in the rain",
    "rain": "rain falls from clouds",
}
QUERIES = {"1": "animal that hunts", "2": "iron in the rain", "3": "  ", "4": "quantum"}
QRELS = {"1": {"cats": 1}, "2": {"rust": 2, "rain": 1}, "3": {"dogs": 1}, "4": {"dogs": 1}, "5": {"gone": 1}}
TESTSET = TestSet("toy", "test", QUERIES, QRELS, queries_without_text=("5",))


class WordOverlap:
    """A small search engine: documents by the number of words that they share with the query."""

    class Results(list):
        mode = "overlap"

    def __init__(self):
        self.calls = []

    def __contains__(self, document_id):
        return document_id in DOCUMENTS

    def search(self, text, k=10, minimum=1):
        words = set(text.split())
        shared = [(len(words & set(body.split())), document_id) for document_id, body in DOCUMENTS.items()]
        best = sorted((pair for pair in shared if pair[0] >= minimum), key=lambda pair: -pair[0])
        return self.Results(ScoredDocument(document_id, float(n)) for n, document_id in best[:k])

    def search_many(self, texts, k=10, minimum=1):
        self.calls.append(list(texts))
        return [self.search(text, k, minimum) for text in texts]
