"""The geometry of an encoder's vectors: do like texts lie close, and do all texts use the room there is?

Alignment and uniformity: Wang & Isola 2020, "Understanding Contrastive Representation Learning through Alignment and
Uniformity on the Hypersphere" (ICML, arXiv 2005.10242). For sentences Gao, Yao & Chen 2021 (SimCSE, arXiv 2104.08821)
take STS-B's pairs with scores above 4 as positive pairs, and all its sentences for uniformity.

Isotropy, by four measures that look at different things: the average cosine of two texts (Ethayarajh 2019, arXiv
1909.00512), the partition function's I(W) (Mu & Viswanath 2018, "All-but-the-Top", arXiv 1702.01417), IsoScore (Rudman,
Gillman, Rayne & Eickhoff 2022, arXiv 2108.07344) and the effective rank (Roy & Vetterli 2007, EUSIPCO).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.errors import MeasureError
from eval.probes.estimates import Estimate, bootstrap_means, jackknife
from eval.probes.texts import checked_texts, unit
from eval.tasks.text_vectors import TextVectors

if TYPE_CHECKING:
    from eval.outcome import Outcome
    from retrieval.encoders.base import Encoder

_ROWS_AT_ONCE = 512  # of the matrix of all pairs: bounds memory
_EQUAL = 1e-12  # share of the vectors' squared length that rounding leaves of a variance of nothing


@dataclass(frozen=True)
class Geometry:
    """How an encoder's vectors lie.

    Attributes:
        alignment: mean squared distance of positive pairs on the unit sphere, 0 to 4; low is close.
        uniformity: logarithm of the mean Gaussian potential of two texts; low is spread out, 0 is one point.
        average_cosine: mean cosine of two texts; 0 in a space that is used evenly.
        partition_isotropy: I(W), 0 to 1, of the vectors with the lengths that the encoder gives them; 1 is isotropic.
        isoscore: 0 to 1; 1 where all directions have the same variance, 0 where one has all of it.
        effective_rank: exponential of the entropy of the singular values, 1 to the dimension.
        n_texts: different texts that everything but alignment was measured on.
        settings: exponents, dimension, seed, and what there was before texts were drawn.
    """

    alignment: Estimate
    uniformity: Estimate
    average_cosine: Estimate
    partition_isotropy: float
    isoscore: float
    effective_rank: float
    n_texts: int
    settings: dict[str, Any]

    def outcome(self) -> Outcome:
        """Return this as a table for people."""
        from eval.outcome import Outcome

        rows = [
            ["alignment", str(self.alignment), f"{self.alignment.n:,} pairs", "low: positive pairs lie close"],
            ["uniformity", str(self.uniformity), f"{self.n_texts:,} texts", "low: texts are spread out"],
            ["average cosine", str(self.average_cosine), f"{self.n_texts:,} texts", "0 in an isotropic space"],
            ["I(W)", f"{self.partition_isotropy:.4f}", f"{self.n_texts:,} texts", "1 in an isotropic space"],
            ["IsoScore", f"{self.isoscore:.4f}", f"{self.n_texts:,} texts", "1: equal variance in all directions"],
            ["effective rank", f"{self.effective_rank:.1f}", f"{self.n_texts:,} texts", "at most the dimension"],
        ]
        dimension = self.settings["dimension"]
        notes = [
            f"{dimension} dimensions; alignment with exponent {self.settings['alpha']:g}, uniformity with t = "
            f"{self.settings['t']:g}; intervals: bootstrap over pairs, jackknife over texts",
            "alignment, uniformity, cosine and effective rank on vectors of length one; I(W) and IsoScore on the "
            "vectors as they are; I(W) tries both directions of each eigenvector",
        ]
        if self.n_texts <= dimension:
            notes.append(f"{self.n_texts} texts span fewer than {dimension} dimensions: the last three are too low")
        return Outcome("Geometry of the vectors", ["measure", "value", "on", "reading"], rows, notes, asdict(self))


def measure_geometry(
    encoder: Encoder,
    first: Sequence[str],
    second: Sequence[str],
    texts: Sequence[str] = (),
    *,
    most_texts: int = 5_000,
    alpha: float = 2.0,
    t: float = 2.0,
    seed: int = 0,
) -> Geometry:
    """Measure how an encoder's vectors of passages lie.

    Args:
        encoder: any.
        first: one side of positive pairs: texts that mean the same.
        second: the other side, as many.
        texts: what uniformity and isotropy are measured on, each different text once; by default those of the pairs.
        most_texts: of more texts so many are drawn at random.
        alpha: exponent of alignment's distances.
        t: of uniformity's Gaussian potential exp(-t · distance²).
        seed: of the draw and of the resampling.

    Raises:
        MeasureError: a text is blank, there are fewer than two pairs or different texts, or the vectors are all equal.
        EncoderError: a text cannot be encoded.
    """
    sides = [checked_texts(side, "positive pairs", least=1) for side in (first, second)]
    if len(sides[0]) != len(sides[1]):
        raise MeasureError(f"positive pairs have {len(sides[0])} first and {len(sides[1])} second texts")
    different = list(dict.fromkeys(checked_texts(texts or [*sides[0], *sides[1]], "texts")))
    if most_texts < 2:
        raise MeasureError(f"most_texts must be at least 2, not {most_texts}")
    rows = np.sort(np.random.default_rng(seed).permutation(len(different))[:most_texts])
    sample = [different[row] for row in rows]
    every = TextVectors(encoder, side="passages").encode([*sides[0], *sides[1], *sample])
    n_pairs = len(sides[0])
    vectors = every[2 * n_pairs :]
    return Geometry(
        alignment=alignment(every[:n_pairs], every[n_pairs : 2 * n_pairs], alpha=alpha, seed=seed),
        uniformity=uniformity(vectors, t=t),
        average_cosine=average_cosine(vectors),
        partition_isotropy=partition_isotropy(vectors),
        isoscore=isoscore(vectors),
        effective_rank=effective_rank(vectors),
        n_texts=len(sample),
        settings={
            "alpha": alpha,
            "t": t,
            "seed": seed,
            "dimension": every.shape[1],
            "different_texts": len(different),
            "encoder": encoder.identity(),
        },
    )


def alignment(first: np.ndarray, second: np.ndarray, *, alpha: float = 2.0, seed: int = 0) -> Estimate:
    """Return the mean of ||x - y||^alpha over positive pairs, x and y scaled to length one.

    Args:
        first: (n, d).
        second: (n, d), the row of each pair's other text.
        alpha: above 0.
        seed: of the bootstrap over pairs.

    Raises:
        MeasureError: the shapes differ, there are fewer than two pairs, or a vector is not finite or zero.
    """
    x, y = unit(first, "positive pairs"), unit(second, "positive pairs")
    if x.shape != y.shape:
        raise MeasureError(f"positive pairs need vectors of one shape, not {x.shape} and {y.shape}")
    if not alpha > 0:
        raise MeasureError(f"alpha must be above 0, not {alpha}")
    distances = np.linalg.norm(x - y, axis=1) ** alpha
    return bootstrap_means(distances[:, None], seed)[0]


def uniformity(vectors: np.ndarray, *, t: float = 2.0) -> Estimate:
    """Return log of the mean of exp(-t ||x - y||²) over all pairs of different rows, scaled to length one.

    Args:
        vectors: (n, d), of different texts.
        t: above 0.

    Raises:
        MeasureError: there are fewer than three vectors, or one is not finite or zero.
    """
    if not t > 0:
        raise MeasureError(f"t must be above 0, not {t}")
    x = _three_or_more(vectors)
    sums = np.concatenate(
        [
            np.exp(-t * np.maximum(2 - 2 * x[start : start + _ROWS_AT_ONCE] @ x.T, 0)).sum(axis=1) - 1.0
            for start in range(0, len(x), _ROWS_AT_ONCE)
        ]
    )  # (n,), each text's potential with all others; with itself it is 1
    value, without = _pair_means(sums)
    return jackknife(float(np.log(value)), np.log(without))


def average_cosine(vectors: np.ndarray) -> Estimate:
    """Return the mean cosine over all pairs of different rows of (n, d), exactly.

    Raises:
        MeasureError: there are fewer than three vectors, or one is not finite or zero.
    """
    x = _three_or_more(vectors)
    return jackknife(*_pair_means(x @ x.sum(axis=0) - 1.0))


def partition_isotropy(vectors: np.ndarray) -> float:
    """Return I(W): the smallest over the largest of Z(c) = sum over rows w of exp(c · w).

    c runs over the eigenvectors of W^T W, as in the paper, but in both directions: an eigenvector has no sign, and the
    one that a library happens to return would decide the value.

    Args:
        vectors: (n, d) as they are; longer ones give lower values.

    Raises:
        MeasureError: a vector is not finite or zero.
    """
    from scipy.special import logsumexp

    unit(vectors, "texts")
    rows = np.asarray(vectors, np.float64)
    projections = rows @ np.linalg.eigh(rows.T @ rows)[1]  # (n, d)
    found = np.concatenate([logsumexp(projections, axis=0), logsumexp(-projections, axis=0)])
    return float(np.exp(found.min() - found.max()))


def isoscore(vectors: np.ndarray) -> float:
    """Return IsoScore, from the eigenvalues l of the vectors' covariance: ((sum l)² / sum l² - 1) / (d - 1).

    The paper's seven steps (rotate to principal axes, scale the variances to length sqrt(d), take their distance from
    the vector of ones, scale it to 0 to 1, square and scale again) come to this: the axes that share the variance,
    counted by the participation ratio, without the one that there always is.

    Args:
        vectors: (n, d) as they are, d >= 2; more than d of them, or the value cannot reach 1.

    Raises:
        MeasureError: a vector is not finite, all are equal, or they have one dimension.
    """
    unit(vectors, "texts")
    rows = np.asarray(vectors, np.float64)
    if rows.shape[1] < 2:
        raise MeasureError("IsoScore compares directions; vectors of one dimension have only one")
    centred = rows - rows.mean(axis=0)
    variances = np.square(np.linalg.svd(centred, compute_uv=False))
    if variances.sum() <= _EQUAL * np.square(rows).sum():
        raise MeasureError(f"all {len(rows)} vectors are equal: they have no variance to look at")
    dimension = rows.shape[1]
    return float((np.square(variances.sum()) / np.square(variances).sum() - 1) / (dimension - 1))


def effective_rank(vectors: np.ndarray) -> float:
    """Return exp(entropy) of the singular values, divided by their sum, of the rows scaled to length one.

    Args:
        vectors: (n, d); not centred, so that a direction that all share counts as one.

    Raises:
        MeasureError: a vector is not finite or zero.
    """
    from scipy.stats import entropy

    return float(np.exp(entropy(np.linalg.svd(unit(vectors, "texts"), compute_uv=False))))


def _three_or_more(vectors: np.ndarray) -> np.ndarray:
    x = unit(vectors, "texts")
    if len(x) < 3:
        raise MeasureError(f"the jackknife over texts needs at least 3 of them, not {len(x)}")
    return x


def _pair_means(sums: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean over all pairs, and the means without each text, from each text's sum with all others."""
    n, total = len(sums), sums.sum()
    return float(total / (n * (n - 1))), (total - 2 * sums) / ((n - 1) * (n - 2))
