from __future__ import annotations

import pytest
import torch

from retrieval.models.alibi_bert import AlibiBertConfig, AlibiBertModel
from retrieval.models.monarch_mixer import MonarchMixerConfig, MonarchMixerModel
from retrieval.models.position_wise import POSITIONS, by_positions

WIDTHS = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24}
LENGTH = 2 * POSITIONS + 100


@pytest.mark.parametrize(
    "model",
    [
        AlibiBertModel(AlibiBertConfig(**WIDTHS, num_attention_heads=2)),
        AlibiBertModel(AlibiBertConfig(**WIDTHS, num_attention_heads=2, family="jina-bert-v2-qk-post-norm")),
        MonarchMixerModel(MonarchMixerConfig(**WIDTHS, long_conv_l_max=2048, max_position_embeddings=2048)),
    ],
    ids=["jina-bert-v2", "jina-bert-v2-qk-post-norm", "monarch-mixer"],
)
def test_parts_give_what_the_whole_gives(model):
    ids = torch.randint(1, 99, (2, LENGTH))
    model.eval()
    whole = model(ids).last_hidden_state
    with torch.inference_mode():
        parts = model(ids).last_hidden_state
    torch.testing.assert_close(parts, whole.detach(), atol=1e-5, rtol=0)


def test_parts_are_bounded():
    widths = []

    def seen(x):
        widths.append(x.shape[1])
        return x

    x = torch.randn(2, LENGTH, 3)
    with torch.no_grad():
        assert torch.equal(by_positions(seen, x), x)
    assert widths == [POSITIONS, POSITIONS, 100]
    assert torch.equal(by_positions(seen, x), x)
    assert widths[3:] == [LENGTH]  # with gradients at once
