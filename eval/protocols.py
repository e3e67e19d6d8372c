"""Protocols: how the passage tasks of MS MARCO and TREC Deep Learning are measured, as their organisers say.

- MS MARCO passage ranking (Bajaj et al. 2016; the official script of the leaderboard): MRR@10, the mean over all judged
  queries, a query without results counting 0; recall of the best 1,000 beside it.
- TREC Deep Learning, passages (Craswell et al. 2019 to 2021): nDCG@10 with the grades 0 to 3 as gains; for binary
  measures a passage is relevant from grade 2 on; all judged queries count (trec_eval's `-c -l 2`). The 2021 track runs
  are 100 passages deep (`-M 100`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eval.errors import MeasureError
from eval.measures import Evaluation, Policies, Qrels, Run, evaluate_run


@dataclass(frozen=True)
class Protocol:
    """A way to measure runs.

    Attributes:
        name: as it is asked for.
        measures: names, the main one first.
        depth: documents of a query that are looked at; None for all.
        policies: what the measures leave open.
    """

    name: str
    measures: tuple[str, ...]
    depth: int | None = 1000
    policies: Policies = field(default_factory=Policies)

    @property
    def main(self) -> str:
        """Name of the measure that counts."""
        return self.measures[0]

    def evaluate(self, run: Run, qrels: Qrels) -> Evaluation:
        """Measure a run; only the best `depth` documents of each query are looked at.

        Raises:
            RunError: see `eval.measures.evaluate_run`.
        """
        return evaluate_run(
            {query: ranking[: self.depth] for query, ranking in run.items()}, qrels, self.measures, self.policies
        )


_DEEP_LEARNING = Policies(relevance_level=2)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("msmarco-passage", ("RR@10", "R@1000")),
        Protocol("trec-dl-2019-passage", ("nDCG@10", "AP@1000", "RR", "R@100", "R@1000"), policies=_DEEP_LEARNING),
        Protocol("trec-dl-2020-passage", ("nDCG@10", "AP@1000", "RR", "R@100", "R@1000"), policies=_DEEP_LEARNING),
        Protocol("trec-dl-2021-passage", ("nDCG@10", "AP@100", "RR@100", "R@100"), 100, _DEEP_LEARNING),
    )
}
"""By name."""


def protocol(name: str) -> Protocol:
    """Return a protocol by its name.

    Raises:
        MeasureError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise MeasureError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
