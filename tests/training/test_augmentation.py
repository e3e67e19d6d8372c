"""Span masking, dropout and drophead."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import TrainingError
from retrieval.training.augmentation import MASK, drophead, generator_for, keep_mask, mask_span, set_dropout
from retrieval.training.collation import TrainingCollator
from retrieval.training.recipe import Recipe
from retrieval.training.sampling import EpochBatches

LONG = "The quick brown fox jumps over the lazy dog."


class TestSpans:
    @given(st.text(alphabet="abc é", min_size=30, max_size=90), st.integers(1, 20), st.integers(0, 1000))
    def test_exactly_one_span_differs(self, text, characters, seed):
        masked = mask_span(text, characters, random.Random(seed))
        assert masked.count(MASK) == 1
        before, after = masked.split(MASK)
        assert text.startswith(before)
        assert text.endswith(after)
        assert len(text) - len(before) - len(after) == characters

    @given(st.text(max_size=29), st.integers(0, 20))
    def test_short_texts_are_left_alone(self, text, characters):
        assert mask_span(text, characters, random.Random(0)) == text

    def test_no_characters_mask_nothing(self):
        assert mask_span(LONG, 0, random.Random(0)) == LONG

    def test_every_place_is_drawn(self):
        generator = random.Random(0)
        places = {mask_span(LONG, 5, generator).index(MASK) for _ in range(2000)}
        assert places == set(range(len(LONG) - 4))

    def test_draws_depend_on_seed_epoch_and_text(self):
        draws = [
            mask_span(LONG, 5, generator_for(*given))
            for given in ((0, 0, LONG), (0, 0, LONG), (1, 0, LONG), (0, 1, LONG), (0, 0, LONG + "."))
        ]
        assert draws[0] == draws[1]
        assert len(set(draws)) == 4

    def test_a_batch_masks_the_second_copy_alone(self):
        seen = []

        def preprocess(texts, **_options):
            seen.append(texts)
            return {"input_ids": torch.zeros(len(texts), 1)}

        recipe = Recipe(name="x", data="sentences", span_characters=5)
        batches = EpochBatches(torch.zeros(2).numpy(), 2, 0.0, 0)
        collate = TrainingCollator(preprocess_fn=preprocess, recipe=recipe, batches=batches)
        collate([{"text": LONG}, {"text": "short"}])
        batches.set_epoch(1)
        collate([{"text": LONG}])
        (first, second, again, later) = seen
        assert first == [LONG, "short"]
        assert MASK in second[0]
        assert second[1] == "short"
        assert again == [LONG]
        assert later[0] != second[0]


class TestDropout:
    def test_is_set_everywhere(self, tiny_bert):
        from transformers import BertModel

        model = BertModel.from_pretrained(tiny_bert).train()
        ids = torch.arange(5, 15)[None]
        assert not torch.equal(model(ids)[0], model(ids)[0])
        assert set_dropout(model, 0.0) > 0
        assert torch.equal(model(ids)[0], model(ids)[0])
        set_dropout(model, 0.1)
        assert not torch.equal(model(ids)[0], model(ids)[0])


def tiny(name: str):
    """A random model of a family with 4 heads and 2 layers."""
    import transformers

    small = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    small["intermediate_size"] = 64
    configurations = {
        "bert": ("Bert", small),
        "roberta": ("Roberta", {**small, "max_position_embeddings": 64}),
        "electra": ("Electra", {**small, "embedding_size": 32}),
        "distilbert": ("DistilBert", {"vocab_size": 60, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
        "albert": ("Albert", {**small, "embedding_size": 16}),
        "mpnet": ("MPNet", small),
        "modernbert": ("ModernBert", {**small, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}),
        "deberta": ("DebertaV2", small),
        "qwen2": ("Qwen2", {**small, "num_key_value_heads": 4}),
    }
    family, settings = configurations[name]
    torch.manual_seed(0)
    return getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**settings))


class TestDrophead:
    def test_kept_heads_make_up_for_those_left_out(self):
        torch.manual_seed(0)
        kept = keep_mask(4000, 8, 0.2)
        assert kept.shape == (4000, 8)
        assert torch.allclose(kept.sum(dim=1), torch.full((4000,), 8.0))
        assert float((kept == 0).float().mean()) == pytest.approx(0.2, abs=0.01)

    def test_never_all_heads(self):
        assert (keep_mask(500, 3, 0.95).sum(dim=1) > 0).all()

    @pytest.mark.parametrize(
        "name", ["bert", "roberta", "electra", "distilbert", "albert", "mpnet", "modernbert", "deberta", "qwen2"]
    )
    def test_changes_training_alone_in_every_family(self, name):
        model = tiny(name)
        set_dropout(model, 0.0)
        ids = torch.arange(10, 20)[None].repeat(2, 1)
        layers = 1 if name == "albert" else 2  # ALBERT's layers are one module
        with torch.no_grad():
            model.train()
            plain = model(ids).last_hidden_state
            assert torch.allclose(plain[0], plain[1], atol=1e-6)
            with drophead(model, 0.5) as n_layers:
                assert n_layers == layers
                changed = model(ids).last_hidden_state
                model.eval()
                evaluated = model(ids).last_hidden_state
            model.train()
            after = model(ids).last_hidden_state
        assert not torch.allclose(changed, plain, atol=1e-6)
        assert not torch.allclose(changed[0], changed[1], atol=1e-6)  # each text draws its own heads
        assert torch.allclose(evaluated, plain, atol=1e-6)
        assert torch.allclose(after, plain, atol=1e-6)

    def test_leaving_out_a_head_is_leaving_out_its_values(self, monkeypatch):
        from retrieval.training import augmentation

        model = tiny("bert").train()
        set_dropout(model, 0.0)
        mask = torch.tensor([[0.0, 2.0, 2.0, 0.0]])
        monkeypatch.setattr(augmentation, "keep_mask", lambda *_given: mask)
        ids = torch.arange(10, 20)[None]
        with torch.no_grad():
            with drophead(model, 0.5):
                dropped = model(ids).last_hidden_state
            # The same by hand: the heads' part of the value projections scaled, 8 dimensions each.
            for layer in model.encoder.layer:
                scale = mask[0].repeat_interleave(8)
                layer.attention.self.value.weight.mul_(scale[:, None])
                layer.attention.self.value.bias.mul_(scale)
            expected = model(ids).last_hidden_state
        assert torch.allclose(dropped, expected, atol=1e-5)

    def test_no_probability_is_no_change(self):
        with drophead(torch.nn.Linear(2, 2), 0.0) as n_layers:
            assert n_layers == 0

    def test_what_has_no_heads_is_refused(self):
        with (
            pytest.raises(TrainingError, match="no attention heads found in Linear"),
            drophead(torch.nn.Linear(2, 2), 0.1),
        ):
            pass

    def test_a_probability_out_of_range(self):
        with pytest.raises(TrainingError, match=r"drophead is 1\.0"), drophead(torch.nn.Linear(2, 2), 1.0):
            pass
