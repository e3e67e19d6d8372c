"""Loading a sentence-transformers model from a folder: safely, quietly, with settings that belong to its identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from retrieval.encoders.checkpoints import refuse_code, refuse_random_parameters, refuse_unreadable_tokenizer
from retrieval.encoders.model_files import has_modules, model_folder
from retrieval.encoders.model_identity import tokenizer_digest, weights_digest
from retrieval.encoders.model_tokenizer import fit_tokenizer, readable_tokens
from retrieval.encoders.own_modules import open_sentence_transformer, refuse_sparse
from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder
from retrieval.encoders.weights import described_files, remembered_digest
from retrieval.errors import EncoderError
from retrieval.execution.precision import Precision, check_precision, set_precision
from retrieval.runtimes.calibration import Calibration
from retrieval.runtimes.loading import exported_runtime, load_runtime


def load_sentence_transformer(
    name_or_path: str | Path,
    *,
    source: str | None = None,
    prompts: Mapping[str, str] | None = None,
    pooling: str | None = None,
    max_tokens: int | None = None,
    truncate_dim: int | None = None,
    precision: Precision | Literal["int8"] | None = "auto",
    batch_tokens: int | None = None,
    device: str | None = None,
    runtime: str | None = None,
    calibration: Sequence[str] | Calibration | None = None,
) -> SentenceTransformerEncoder:
    """Load a model from a folder or by its name on the model hub.

    A folder with sentence-transformers' `modules.json` says itself how token vectors become one vector. Any other
    checkpoint of transformers is pooled as sentence-transformers does by default: the last token's vector where it was
    saved as a causal language model (`…ForCausalLM`), the mean over all tokens otherwise (GPT-2's `GPT2LMHeadModel`
    too); vectors are not normalised, and compared by cosine. Causal networks stay causal, also under the mean (as
    KaLM-Embedding is trained, arXiv 2501.01028). Encoder-decoder models (T5) are read without their decoder. A text
    without any token, such as an empty one where the tokenizer adds none, is read as the one token that begins or ends
    texts.

    Args:
        name_or_path: see `model_files.model_folder`.
        source: what to load it from again; by default the absolute path, or the name.
        prompts: "query" and "document" prompts instead of the model's own.
        pooling: "mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens" or "weightedmean" for a folder without
            `modules.json`.
        max_tokens: read that many tokens instead of what the model's configuration says.
        truncate_dim: keep the first components of each vector, for models trained so that they suffice.
        precision: "fp32", "bf16" or "fp16"; "auto" for what the environment variable RETRIEVAL_PRECISION says, else
            the fastest that the device has instructions for (`retrieval.execution.precision`); None keeps what the
            file has. Other runtimes have other ones, see `runtimes.loading.RUNTIMES`; None is "fp32" there.
        batch_tokens: see `SentenceTransformerEncoder`.
        device: "cpu", "cuda", …; by default a GPU when there is one. Other runtimes compute on the processor.
        runtime: "torch" (None), "onnx" or "openvino"; the latter two run the network after it has been exported, which
            is done once on a machine. Late chunking goes on in PyTorch.
        calibration: see `runtimes.loading.load_runtime`.

    Raises:
        EncoderError: there is no such model, it cannot be loaded safely, or the settings do not fit it.
    """
    folder = model_folder(str(name_or_path))
    refuse_sparse(folder)
    if source is None:
        source = str(folder) if Path(name_or_path).expanduser().is_dir() else str(name_or_path)
    if pooling is not None:
        _check_pooling(folder, source, pooling)
    exported = exported_runtime(runtime, precision, device, calibration)
    # What a network is exported from is in fp32, whatever it is run in afterwards.
    of_torch = "fp32" if exported else cast("Precision | None", precision)
    check_precision(of_torch)
    model = _load(
        folder,
        source,
        pooling,
        device="cpu" if exported else device,
        prompts=dict(prompts) if prompts is not None else None,
        truncate_dim=truncate_dim,
    )
    if max_tokens is not None:
        set_max_tokens(model, max_tokens)
    files = described_files(folder)
    digests = {
        "weights": remembered_digest("tensors", files, lambda: weights_digest(model)),
        "tokenizer": remembered_digest("tokenizer", files, lambda: tokenizer_digest(model)),
    }
    set_precision(model, of_torch)  # after the weights have been hashed
    runs = None
    if exported is not None:
        try:
            runs = load_runtime(exported, model, digests["weights"], precision=precision, calibration=calibration)
        except EncoderError as error:
            raise EncoderError(f"model {source!r} cannot be run by {exported}: {error}") from error
    return SentenceTransformerEncoder(
        model,
        source=source,
        precision=of_torch,
        batch_tokens=batch_tokens,
        digests=digests,
        runtime=runs,
        own=True,
    )


def _check_pooling(folder: Path, source: str, pooling: str) -> None:
    from retrieval.models.pooling.building import USUAL

    if pooling not in USUAL:
        raise EncoderError(f"unknown pooling {pooling!r}: one of {', '.join(USUAL)}")
    if has_modules(folder):
        raise EncoderError(
            f"model {source!r} says in its modules.json how it pools; pooling={pooling!r} is for folders without one. "
            "To give it another head, train it: model_settings.pooling in a recipe"
        )


def _load(folder: Path, source: str, pooling: str | None, **settings: Any) -> Any:
    from transformers.utils import logging as transformers_logging

    from retrieval.models.published_folder import readable_folder
    from retrieval.models.registration import register_backbones

    register_backbones()
    showed_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with readable_folder(folder) as readable:
            refuse_code(readable)
            refuse_unreadable_tokenizer(readable)
            model = open_sentence_transformer(readable, model_kwargs={"use_safetensors": True}, **settings)
            refuse_random_parameters(readable, model)
            fit_tokenizer(model)
            if pooling is not None:
                _pool_by(model, pooling)
            return model
    except EncoderError as error:
        raise EncoderError(f"model {source!r} cannot be loaded: {error}") from error
    except Exception as error:
        # Whatever is wrong with a folder of somebody else's surfaces as nearly any exception of three libraries.
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"model {source!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    finally:
        if showed_progress:
            transformers_logging.enable_progress_bar()


def _pool_by(model: Any, pooling: str) -> None:
    """Put another pooling behind the network of a plain checkpoint.

    Raises:
        EncoderError: it has no token vectors to pool.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    if len(model) != 2 or not isinstance(model[1], Pooling):
        raise EncoderError(f"pooling={pooling!r} needs a network with a vector for each token")
    model[1] = Pooling(model[1].embedding_dimension, pooling)


def set_max_tokens(model: Any, max_tokens: int) -> None:
    """Make a sentence-transformers model read that many tokens.

    Raises:
        EncoderError: it has not as many positions.
    """
    if max_tokens == model.max_seq_length:
        return
    readable = readable_tokens(model)
    if max_tokens < 1 or (readable is not None and readable < max_tokens):
        limits = "at least 1 token" if readable is None else f"1 to {readable} tokens"
        raise EncoderError(f"max_tokens is {max_tokens}, but this model reads {limits}")
    model.max_seq_length = max_tokens
