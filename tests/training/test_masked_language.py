from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast, DistilBertConfig, DistilBertForMaskedLM

from retrieval.errors import EncoderError
from retrieval.models.alibi_bert import AlibiBertConfig, AlibiBertForMaskedLM
from retrieval.training.masked_language import (
    IGNORED,
    MaskedLanguageCollator,
    choose_words,
    masked_language_score,
)
from tests.retrieval.conftest import VOCABULARY

WORKERS = """
import json, sys
from torch.utils.data import DataLoader
from transformers import BertTokenizerFast
from retrieval.training.masked_language import MaskedLanguageCollator

collator = MaskedLanguageCollator(BertTokenizerFast.from_pretrained(sys.argv[1]))
texts = ["searching engines, retrieval of documents and the query models in words " * 40] * 2
print(json.dumps([batch["labels"].tolist() for batch in DataLoader(texts, 1, num_workers=2, collate_fn=collator)]))
"""
"""Labels of one text, masked by two workers."""

LONG = "searching engines, retrieval of documents and the query models in words " * 40
TEXTS = st.lists(
    st.text(st.sampled_from("abc thequery,.é検"), max_size=60)
    | st.sampled_from(["searching engines", "the [MASK] of a [SEP] query [PAD]"]),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return BertTokenizerFast(vocab=str(path), model_max_length=512)


def tiny(kind):
    torch.manual_seed(0)
    common = {"vocab_size": len(VOCABULARY)}
    if kind is AlibiBertForMaskedLM:
        return kind(
            AlibiBertConfig(**common, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        )
    if kind is DistilBertForMaskedLM:
        return kind(DistilBertConfig(**common, dim=16, n_layers=1, n_heads=2, hidden_dim=16))
    return kind(BertConfig(**common, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16))


class TestChooseWords:
    @given(
        st.lists(st.integers(1, 6), min_size=1, max_size=60),
        st.floats(0.05, 1.0),
        st.integers(0, 2**32),
        st.integers(0, 3),
    )
    def test_whole_words_up_to_the_share(self, sizes, rate, seed, special):
        words = np.concatenate([np.full(special, -1), np.repeat(np.arange(len(sizes)), sizes), [-1]])
        chosen = choose_words(words, rate, np.random.default_rng(seed))
        assert (np.diff(chosen) > 0).all()
        numbers = np.unique(words[chosen])
        assert numbers.min() >= 0
        assert np.array_equal(chosen, np.flatnonzero(np.isin(words, numbers)))  # words together
        share = max(1, round(rate * sum(sizes)))
        if len(chosen) > share:
            assert len(numbers) == 1
            assert min(sizes) > share
        else:
            left = [size for word, size in enumerate(sizes) if word not in numbers]
            assert not left or min(left) > share - len(chosen)  # nothing else would have fitted

    def test_every_word_can_be_chosen(self):
        words = np.array([-1, 0, 1, 1, 2, 2, 2, 3, -1])
        random = np.random.default_rng(0)
        counts = np.zeros(9)
        for _ in range(2000):
            counts[choose_words(words, 0.4, random)] += 1
        assert (counts[1:-1] > 200).all()
        assert not counts[[0, -1]].any()

    def test_nothing_to_choose(self):
        assert choose_words(np.array([-1, -1]), 0.3, np.random.default_rng(0)).tolist() == []


class TestCollator:
    @settings(max_examples=60)
    @given(TEXTS, st.integers(0, 1000), st.booleans())
    def test_only_chosen_tokens_change(self, tokenizer, texts, seed, whole):
        batch = MaskedLanguageCollator(tokenizer, seed=seed, whole_words=whole)(texts)
        plain = tokenizer(texts, padding=True, return_tensors="pt")
        asked = batch["labels"] != IGNORED
        assert torch.equal(torch.where(asked, batch["labels"], batch["input_ids"]), plain["input_ids"])
        assert torch.equal(batch["attention_mask"], plain["attention_mask"])
        special = torch.isin(plain["input_ids"], torch.tensor(tokenizer.all_special_ids))
        assert not (asked & special).any()  # none of them is ever guessed, not even written in the text
        ordinary = ~special
        assert torch.equal(asked.any(dim=1), ordinary.any(dim=1))

    @settings(max_examples=40)
    @given(TEXTS, st.integers(0, 1000))
    def test_words_stay_together(self, tokenizer, texts, seed):
        labels = MaskedLanguageCollator(tokenizer, seed=seed)(texts)["labels"]
        for row, encoding in enumerate(tokenizer(texts, padding=True).encodings):
            tokens, special = encoding.tokens, set(tokenizer.all_special_tokens)
            for at in range(1, len(tokens)):
                if tokens[at].startswith("##") and tokens[at - 1] not in special:
                    assert (labels[row, at] == IGNORED) == (labels[row, at - 1] == IGNORED)

    @pytest.mark.parametrize("rate", [0.15, 0.3, 0.5])
    def test_rate(self, tokenizer, rate):
        labels = MaskedLanguageCollator(tokenizer, rate=rate)([LONG] * 20)["labels"]
        for row in labels:
            assert abs((row != IGNORED).sum() - rate * 510) <= 1

    def test_shares(self, tokenizer):
        collator = MaskedLanguageCollator(tokenizer, rate=0.5)
        counts = np.zeros(3)
        for _ in range(20):
            batch = collator([LONG] * 10)
            asked = batch["labels"] != IGNORED
            found, wanted = batch["input_ids"][asked], batch["labels"][asked]
            masked = found == tokenizer.mask_token_id
            counts += [masked.sum(), (~masked & (found != wanted)).sum(), (found == wanted).sum()]
            random = found[~masked & (found != wanted)]
            assert not torch.isin(random, torch.tensor(tokenizer.all_special_ids)).any()
        shares = counts / counts.sum()
        kept = 0.1 / (len(VOCABULARY) - 5)  # a random token can be the one that stood there
        np.testing.assert_allclose(shares, [0.8, 0.1 - kept, 0.1 + kept], atol=0.005)

    def test_shares_can_be_set(self, tokenizer):
        batch = MaskedLanguageCollator(tokenizer, mask_share=1.0, random_share=0.0)([LONG])
        assert (batch["input_ids"][batch["labels"] != IGNORED] == tokenizer.mask_token_id).all()

    def test_seeds(self, tokenizer):
        def draw(seed):
            collator = MaskedLanguageCollator(tokenizer, seed=seed)
            return [collator([LONG])["labels"] for _ in range(2)]

        first, again, other = draw(1), draw(1), draw(2)
        assert all(map(torch.equal, first, again))
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first[0], other[0])

    @pytest.mark.slow
    def test_workers_draw_numbers_of_their_own(self, tokenizer, tmp_path):
        """In a fresh process: workers are forked, and this one has the threads of all tests before."""
        tokenizer.save_pretrained(tmp_path)
        done = subprocess.run(
            [sys.executable, "-c", WORKERS, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        first, second = json.loads(done.stdout)
        assert len(first) == len(second)
        assert first != second

    def test_long_texts_are_cut(self, tokenizer):
        assert MaskedLanguageCollator(tokenizer, max_tokens=16)([LONG])["labels"].shape == (1, 16)

    def test_texts_in_mappings(self, tokenizer):
        texts = MaskedLanguageCollator(tokenizer)(["the query", LONG])
        rows = MaskedLanguageCollator(tokenizer)([{"text": "the query", "id": 1}, {"text": LONG}])
        assert all(torch.equal(texts[name], rows[name]) for name in texts)

    @pytest.mark.parametrize(
        ("examples", "message"), [([], "at least one"), ([{"title": "x"}], "with a 'text'"), ([3], "3 is neither")]
    )
    def test_what_is_no_text(self, tokenizer, examples, message):
        with pytest.raises(EncoderError, match=message):
            MaskedLanguageCollator(tokenizer)(examples)

    @pytest.mark.parametrize(
        "changes", [{"rate": 0}, {"rate": 1.1}, {"mask_share": -0.1}, {"mask_share": 0.8, "random_share": 0.3}]
    )
    def test_shares_that_make_no_sense(self, tokenizer, changes):
        with pytest.raises(EncoderError, match="add up to at most 1"):
            MaskedLanguageCollator(tokenizer, **changes)

    def test_a_tokenizer_without_a_mask(self, tokenizer, tmp_path):
        tokenizer.save_pretrained(tmp_path)
        other = BertTokenizerFast.from_pretrained(tmp_path)
        other.mask_token = None
        with pytest.raises(EncoderError, match="mask token"):
            MaskedLanguageCollator(other)


class TestScore:
    @pytest.mark.parametrize("kind", [AlibiBertForMaskedLM, BertForMaskedLM, DistilBertForMaskedLM])
    def test_is_the_loss_of_the_model(self, tokenizer, kind):
        model = tiny(kind).train()
        batch = MaskedLanguageCollator(tokenizer, max_tokens=64)([LONG, "a query"])
        if kind is DistilBertForMaskedLM:
            del batch["token_type_ids"]
        score = masked_language_score(model, [batch])
        assert model.training
        found = model.eval()(**batch)
        asked = batch["labels"] != IGNORED
        assert score.loss == pytest.approx(found.loss.item(), rel=1e-5)
        assert score.n_tokens == int(asked.sum())
        assert score.accuracy == pytest.approx(
            (found.logits.argmax(-1) == batch["labels"])[asked].float().mean().item()
        )
        assert score.perplexity == pytest.approx(math.exp(score.loss))

    def test_tokens_count_the_same_in_any_batch(self, tokenizer):
        model, collator = tiny(BertForMaskedLM), MaskedLanguageCollator(tokenizer, max_tokens=64)
        batches = [collator([LONG]), collator(["a query"])]
        together, alone = masked_language_score(model, batches), [masked_language_score(model, [b]) for b in batches]
        expected = sum(part.loss * part.n_tokens for part in alone) / sum(part.n_tokens for part in alone)
        assert together.loss == pytest.approx(expected, rel=1e-5)

    def test_nothing_to_guess(self, tokenizer):
        batch = MaskedLanguageCollator(tokenizer)([""])
        with pytest.raises(EncoderError, match="no token to guess"):
            masked_language_score(tiny(BertForMaskedLM), [batch])
