"""Data of our kinds over texts, as mteb's data sets."""

from __future__ import annotations

from typing import Any

from eval.errors import TaskError
from eval.mteb_parity.prepared import Prepared
from eval.tasks.tables import read_table


def sts(task: Any) -> Prepared:
    """Read pairs and their scores."""
    from datasets import Dataset
    from mteb.abstasks import AbsTaskSTS

    definition, (file,) = task.definition, task.files()
    table = read_table(file, (definition.first, definition.second, definition.score))
    columns = {
        "sentence1": table.texts(definition.first),
        "sentence2": table.texts(definition.second),
        "score": table.numbers(definition.score),
    }
    return Prepared({"test": Dataset.from_dict(columns)}, AbsTaskSTS, "STS", "cosine_spearman")


def pair_classification(task: Any) -> Prepared:
    """Read pairs with positive and negative labels."""
    from datasets import Dataset
    from mteb.abstasks import AbsTaskPairClassification

    definition, (file,) = task.definition, task.files()
    table = read_table(file, (definition.first, definition.second, definition.label))
    labels = [str(label) for label in table.labels(definition.label)]
    kept = [row for row, label in enumerate(labels) if label not in definition.ignored]
    columns = {
        "sentence1": [table.texts(definition.first)[row] for row in kept],
        "sentence2": [table.texts(definition.second)[row] for row in kept],
        "labels": [int(labels[row] in definition.positive) for row in kept],
    }
    return Prepared({"test": Dataset.from_dict(columns)}, AbsTaskPairClassification, "PairClassification", "max_ap")


def classification(task: Any) -> Prepared:
    """Read texts with labels, of the training part and of the measured one."""
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskClassification
    from sklearn.linear_model import LogisticRegression

    definition = task.definition
    train, test = (read_table(file, (definition.text, definition.label)) for file in task.files())
    labels = [table.labels(definition.label) for table in (train, test)]
    alike = int if all(isinstance(each[0], int) for each in labels) else str  # one kind of label in both parts
    parts = {
        split: Dataset.from_dict({"text": table.texts(definition.text), "label": [alike(label) for label in each]})
        for split, table, each in (("train", train, labels[0]), ("test", test, labels[1]))
    }
    attributes = {
        "n_experiments": definition.n_experiments,
        "samples_per_label": definition.samples_per_label,
        "evaluator_model": LogisticRegression(max_iter=definition.max_iterations),
    }
    return Prepared(DatasetDict(parts), AbsTaskClassification, "Classification", "accuracy", attributes)


def clustering(task: Any) -> Prepared:
    """Read texts and the groups that people made of them.

    Raises:
        TaskError: the definition has several sets of texts, which only mteb's first protocol had.
    """
    from datasets import Dataset
    from mteb.abstasks import AbsTaskClustering
    from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy

    definition, (file,) = task.definition, task.files()
    table = read_table(file, (definition.text, definition.label))
    texts, labels = table.texts(definition.text), table.labels(definition.label)
    if definition.protocol == "v1":
        if definition.set:
            raise TaskError(f"task {task.name}: clusterings of several sets are not compared with mteb")
        whole = Dataset.from_dict({"sentences": [texts], "labels": [labels]})
        return Prepared({"test": whole}, AbsTaskClusteringLegacy, "Clustering", "v_measure")
    attributes = {
        "max_fraction_of_documents_to_embed": definition.max_fraction,
        "max_document_to_embed": definition.max_documents,
        "max_documents_per_cluster": definition.documents_per_experiment,
        "n_clusters": definition.n_experiments,
        **({} if definition.batch_size is None else {"k_mean_batch_size": definition.batch_size}),
    }
    data = Dataset.from_dict({"sentences": texts, "labels": labels})
    return Prepared({"test": data}, AbsTaskClustering, "Clustering", "v_measure", attributes)


def bitext_mining(task: Any) -> Prepared:
    """Read sentences and their translations."""
    from datasets import Dataset
    from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining

    definition, (file,) = task.definition, task.files()
    table = read_table(file, (definition.first, definition.second))
    columns = {"sentence1": table.texts(definition.first), "sentence2": table.texts(definition.second)}
    return Prepared({"test": Dataset.from_dict(columns)}, AbsTaskBitextMining, "BitextMining", "f1")


def summarization(task: Any) -> Prepared:
    """Read summaries by people, and by machines with their scores."""
    from datasets import Dataset
    from mteb.abstasks.text.summarization import AbsTaskSummarization

    definition, (file,) = task.definition, task.files()
    table = read_table(file, (definition.human, definition.machine))
    machine = table.columns[definition.machine]
    columns = {
        "text": [""] * len(table),  # not looked at by the measure
        "human_summaries": table.columns[definition.human],
        "machine_summaries": [[summary[definition.summary] for summary in row] for row in machine],
        "relevance": [[float(summary[definition.score]) for summary in row] for row in machine],
    }
    attributes = {"min_score": 0, "max_score": 5}  # a scale that no rank correlation sees
    return Prepared(
        {"test": Dataset.from_dict(columns)}, AbsTaskSummarization, "Summarization", "cosine_spearman", attributes
    )
