"""The check of a SavedModel's ops against a stock TensorFlow Serving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_text as text

from components.trainer.serving_ops import unsupported_ops

TOKENS = tf.RaggedTensorSpec([None, None], tf.int32)
STRINGS = tf.TensorSpec([None], tf.string)


def save(function: Callable, spec: tf.TypeSpec, folder: Path) -> Path:
    module = tf.Module()
    module.function = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={})
    return folder


def trim(tokens: tf.RaggedTensor) -> tf.RaggedTensor:
    return text.RoundRobinTrimmer(3).trim([tokens])[0]


def test_ops_of_tensorflow_and_old_tf_text_are_supported(tmp_path: Path) -> None:
    tokenizer = text.FastBertTokenizer(["[UNK]", "a"], lower_case_nfd_strip_accents=True)

    def branch(texts: tf.Tensor) -> tf.Tensor:
        ids = tokenizer.tokenize(text.normalize_utf8(texts, "NFD")).to_tensor()
        return tf.cond(tf.size(ids) > 0, lambda: ids, lambda: ids + 1)

    assert unsupported_ops(save(branch, STRINGS, tmp_path)) == []


@pytest.mark.parametrize(
    ("function", "spec", "op"),
    [
        (trim, TOKENS, "TFText>RoundRobinTrim"),
        (lambda texts: text.utf8_binarize(texts), STRINGS, "TFText>Utf8Binarize"),
        (lambda texts: tf.raw_ops.DecodeWebP(contents=texts[0]), STRINGS, "DecodeWebP"),
    ],
    ids=["text trimmer", "utf8_binarize", "new in TensorFlow"],
)
def test_newer_ops_are_named(
    function: Callable, spec: tf.TypeSpec, op: str, tmp_path: Path
) -> None:
    assert unsupported_ops(save(function, spec, tmp_path)) == [op]


def test_ops_within_functions_within_functions_are_found(tmp_path: Path) -> None:
    def outer(tokens: tf.RaggedTensor) -> tf.Tensor:
        return tf.cond(tokens.nrows() > 0, lambda: tf.function(trim)(tokens).values[0], lambda: 0)

    assert unsupported_ops(save(outer, TOKENS, tmp_path)) == ["TFText>RoundRobinTrim"]


def test_the_comparison_was_made_for_this_tensorflow() -> None:
    assert tf.__version__.startswith("2.21.")
