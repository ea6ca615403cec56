"""The text encoder: a BERT compiled into one lean SavedModel, strings in, `pooled_output` out.

The MiniLM that is installed with twotower and any pair of preprocessor and encoder with TF Hub's
BERT interface become the same thing: one function with the variables that it uses, quick to load
and to call from another graph. Compiling happens once per machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizers' ops

from components.ad_text_tensors import split_pair
from components.errors import InputError

MINILM = "minilm"
POOLED_OUTPUT = "pooled_output"

# Part of every cache key: raise it when this code compiles an encoder in another way.
_FORMAT = 3
_RECORD = "encoder.json"
_TOKENIZER = "tokenizer"  # a SavedModel in the encoder's folder: texts [B] -> tokens [B]


class Encoder(tf.Module):
    """A compiled text encoder: texts [B] string -> embeddings [B, H] float32.

    Works eagerly and within any graph; who tracks it tracks its variables.

    Attributes:
        width: H, the numbers in an embedding.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self._model = tf.saved_model.load(str(folder))
        (function,) = self._model.__call__.concrete_functions
        self.width = int(function.structured_outputs[POOLED_OUTPUT].shape[1])

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the embeddings [B, H] of `texts` [B]."""
        return self._model(texts)[POOLED_OUTPUT]


def load(folder: str | Path) -> Encoder:
    """Loads what `compile_encoder` made."""
    return Encoder(folder)


def width(encoder: Encoder) -> int:
    """Returns H, the numbers in an embedding."""
    return encoder.width


def lengths(folder: str | Path, texts: Sequence[bytes]) -> np.ndarray:
    """Returns how many tokens each of n texts has for a compiled encoder [n]."""
    tokenizer = tf.saved_model.load(str(Path(folder) / _TOKENIZER))
    return tokenizer(tf.constant(texts)).numpy()


def fingerprint(folder: str | Path) -> str:
    """Returns a hash of all that the encoder was made from: the same on every machine."""
    return _read_record(Path(folder))["fingerprint"]


def compile_encoder(
    encoder: str,
    preprocessor: str | None,
    max_tokens: int,
    cache: Path,
    pair: bool = False,
) -> Path:
    """Compiles a text encoder, unless the cache has it, and returns its folder.

    Args:
        encoder: "minilm", or the TF Hub handle or folder of a BERT encoder.
        preprocessor: the TF Hub handle or folder of its preprocessor; None for minilm.
        max_tokens: longer texts are cut. A preprocessor without `bert_pack_inputs` cuts where it
            always does.
        cache: where compiled encoders are kept.
        pair: whether a text is its first line and the rest of it, BERT's pair of sentences.

    Raises:
        InputError: an encoder that cannot be loaded or lacks TF Hub's BERT interface.
    """
    sources = _sources(encoder, preprocessor)
    cache = cache.expanduser()
    how = [str(_FORMAT), str(max_tokens), *(["pair"] if pair else [])]
    folder = cache / _hash([*how, *map(_identity, sources)])
    if _is_whole(folder):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=cache) as scratch:
        made = Path(scratch) / "encoder"
        model = _model(encoder, preprocessor, max_tokens, pair)
        _save(model, made)
        _save_lengths(model, made / _TOKENIZER)
        _write_record(made, _hash([*how, *map(_contents, sources)]))
        _publish(made, folder)
    return folder


def _publish(made: Path, folder: Path) -> None:
    """Moves `made` to `folder`, unless another process was quicker."""
    if not _is_whole(folder):
        with contextlib.suppress(FileNotFoundError):
            folder.rename(made.with_name("broken"))
    try:
        made.rename(folder)
    except OSError:
        if not _is_whole(folder):
            raise


def _sources(encoder: str, preprocessor: str | None) -> list[str]:
    """Returns the folders or handles that an encoder is made from."""
    if encoder == MINILM:
        from components.transform.minilm import FOLDER

        if preprocessor is not None:
            raise InputError(
                "text_encoder.preprocessor: minilm has its own; leave the preprocessor out, or set "
                "text_encoder.encoder to the encoder that it belongs to"
            )
        return [str(FOLDER)]
    if preprocessor is None:
        raise InputError(
            f"text_encoder.preprocessor: {encoder} needs one; give the handle or folder of the "
            f"preprocessor that the encoder's page on TF Hub names"
        )
    return [preprocessor, encoder]


def _model(encoder: str, preprocessor: str | None, max_tokens: int, pair: bool) -> tf.Module:
    if preprocessor is None:
        from components.transform.minilm import MiniLM

        return MiniLM(max_tokens, pair=pair)
    return _HubPair(preprocessor, encoder, max_tokens, pair)


class _HubPair(tf.Module):
    """A preprocessor and an encoder with TF Hub's BERT interface: texts [B] -> [B, H] float32."""

    def __init__(self, preprocessor: str, encoder: str, max_tokens: int, pair: bool) -> None:
        super().__init__()
        self._names = f"the preprocessor {preprocessor} and the encoder {encoder}"
        self._preprocessor = _load_from_hub(preprocessor, "text_encoder.preprocessor")
        self._encoder = _load_from_hub(encoder, "text_encoder.encoder")
        self._max_tokens = max_tokens
        self._pair = pair
        if pair and not hasattr(self._preprocessor, "bert_pack_inputs"):
            raise InputError(
                f"text_encoder.pair: the preprocessor {preprocessor} packs no pairs of sentences "
                "(bert_pack_inputs); leave it false"
            )

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        try:
            inputs = self._preprocess(texts)
            longest = tf.reduce_max(tf.reduce_sum(inputs["input_mask"], axis=1))
            outputs = self._encoder({name: values[:, :longest] for name, values in inputs.items()})
            pooled = outputs[POOLED_OUTPUT]
            pooled.shape[1:].assert_is_fully_defined()
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"text_encoder: {self._names} do not work together as TF Hub's BERT models do, "
                f"from strings over input_mask to {POOLED_OUTPUT} [B, H] ({_first_line(error)}); "
                f"use the preprocessor that the encoder's page on TF Hub names"
            ) from None
        return pooled

    def lengths(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the number of tokens of each text [B]."""
        return tf.reduce_sum(self._preprocess(texts)["input_mask"], axis=1)

    def _preprocess(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        if not hasattr(self._preprocessor, "bert_pack_inputs"):
            return self._preprocessor(texts)
        sentences = split_pair(texts) if self._pair else [texts]
        tokens = [self._preprocessor.tokenize(sentence) for sentence in sentences]
        return self._preprocessor.bert_pack_inputs(tokens, tf.constant(self._max_tokens))


def _load_from_hub(handle: str, setting: str) -> Any:
    import tensorflow_hub as hub

    try:
        if not Path(hub.resolve(handle)).is_dir():
            raise NotADirectoryError("it is not on this machine")
        return hub.load(handle)
    except Exception as error:
        raise InputError(
            f"{setting}: {handle} cannot be loaded ({_first_line(error)}); give the handle of a "
            f"TF2 SavedModel on TF Hub or the folder of one"
        ) from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _save(model: tf.Module, folder: Path) -> None:
    """Saves `model` as one function with the variables, tables and files that it uses."""
    lean = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "texts")], autograph=False)
    def embed(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return {POOLED_OUTPUT: model(texts)}

    used = {id(tensor) for tensor, _ in embed.get_concrete_function().graph.captures}
    lean.resources = [
        part for part in tf.train.TrackableView(model).descendants() if _is_used(part, used)
    ]
    lean.__call__ = embed
    tf.saved_model.save(lean, str(folder), signatures={})


def _save_lengths(model: Any, folder: Path) -> None:
    """Saves how many tokens of `model` a text has."""
    counter = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "texts")], autograph=False)
    def count(texts: tf.Tensor) -> tf.Tensor:
        return tf.cast(model.lengths(texts), tf.int32)

    used = {id(tensor) for tensor, _ in count.get_concrete_function().graph.captures}
    counter.resources = [
        part for part in tf.train.TrackableView(model).descendants() if _is_used(part, used)
    ]
    counter.__call__ = count
    tf.saved_model.save(counter, str(folder), signatures={})


def _is_used(part: Any, used: set[int]) -> bool:
    if isinstance(part, tf.Variable):
        return id(part.handle) in used
    if isinstance(part, tf.saved_model.experimental.TrackableResource):
        return id(part.resource_handle) in used
    return isinstance(part, tf.saved_model.Asset)


def _identity(source: str) -> str:
    """Returns what a folder holds, or the handle itself: a handle names one version of a model."""
    return _contents(source) if Path(source).is_dir() else source


def _contents(source: str) -> str:
    """Returns a hash of the files of a folder or handle."""
    if not Path(source).is_dir():
        import tensorflow_hub as hub

        source = hub.resolve(source)
    folder = Path(source)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _RECORD)
    return _hash(f"{path.relative_to(folder)} {_hash_file(path)}" for path in files)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _write_record(folder: Path, fingerprint: str) -> None:
    record = {"fingerprint": fingerprint, "seal": _seal(folder, fingerprint)}
    (folder / _RECORD).write_text(json.dumps(record))


def _read_record(folder: Path) -> dict[str, str]:
    return json.loads((folder / _RECORD).read_text())


def _seal(folder: Path, fingerprint: str) -> str:
    return _hash([fingerprint, _contents(str(folder))])


def _is_whole(folder: Path) -> bool:
    """Tells whether `folder` holds what was written there, and nothing else."""
    try:
        record = _read_record(folder)
        return record["seal"] == _seal(folder, record["fingerprint"])
    except (OSError, ValueError, KeyError):
        return False
