"""MiniLM against its authors' definition: the tokenizer's ids, and a forward pass in NumPy."""

from __future__ import annotations

import json
import math
import random
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from components.transform.minilm import FOLDER, MiniLM

MAX_TOKENS = 64

Embed = Callable[[Sequence[str] | Sequence[bytes]], np.ndarray]

ACCENTS = [
    "Crème brûlée à la carte",
    "Ångström, naïve façade",
    "Đặng Thị Hồng",
    "e\u0301\u0327 o\u0308",
]
SCRIPTS = [
    "日本語のテキスト", "北京欢迎你", "價格 99元", "서울에서 만나요", "ไทยแลนด์", "नमस्ते दुनिया",
    "Привет, мир!", "ΟΔΟΣ ΣΑΣ ς", "שלום עולם", "مرحبا بالعالم", "ŁÓDŹ Straße ẞ İstanbul ı",
]  # fmt: skip
SYMBOLS = [
    "😀🎉 sale!", "👩‍👩‍👧 family 🏳️‍🌈", "🤣🫠", "½ price ™ ® © № ² º ª", "€5 £6 ¥7 ₿8", "→ ✓ ★ ♥",
    "ﬁne ﬂow", "𝐁𝐨𝐥𝐝 ｆｕｌｌ ｗｉｄｔｈ", "don't—stop…", "«quoted» “text”",
    "a_b-c/d\\e", "C++ & C#; x^2 ~ `y`",
]  # fmt: skip
SPACES_AND_CONTROLS = [
    "", " ", "\t\n\r", "a\u00a0b\u3000c\u2028d", "zero\u200bwidth\u200d\ufeff", "soft\u00adhyphen",
    "bell\x07 null\x00 del\x7f nel\x85", "\ufffd replaced", "\ue000 private \U000f0000", "\x01\x02",
]  # fmt: skip
LONG = [
    "word " * 1000, "a" * 100, "a" * 101, "x" * 5000, "б" * 100, "б" * 101, "é" * 100, "ไ" * 90,
    "a," * 200, "日" * 500, "😀" * 100, "😀" * 101, "antidisestablishmentarianism" * 3, "1" * 150,
]  # fmt: skip
SENTENCES = [
    "Fly to Lisbon from 49 euros this weekend.",
    "Cheap flights to Portugal, leaving on Friday!",
    "A credit card with no annual fee.",
    "Bank without paying yearly charges.",
    "Fresh pasta, made by hand every day",
    "The new RPG is out now; play it with your friends.",
]


def mixtures(count: int) -> list[str]:
    """Texts in which pieces of all kinds meet."""
    pieces = [p for text in ACCENTS + SCRIPTS + SYMBOLS + SENTENCES for p in text.split()]
    pieces += SPACES_AND_CONTROLS
    draw = random.Random(1)
    return [
        draw.choice(["", " ", "\t", "-", "\u200b"]).join(
            draw.choices(pieces, k=draw.randint(1, 20))
        )
        for _ in range(count)
    ]


VARIED = ACCENTS + SCRIPTS + SYMBOLS + SPACES_AND_CONTROLS + LONG + SENTENCES
VARIED += mixtures(200 - len(VARIED))


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM(MAX_TOKENS)


@pytest.fixture(scope="module")
def embed(minilm: MiniLM) -> Embed:
    function = tf.function(minilm, input_signature=[tf.TensorSpec([None], tf.string)])
    return lambda texts: function(tf.constant(texts, tf.string, shape=[len(texts)])).numpy()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def ids(minilm: MiniLM, texts: Sequence[str]) -> list[list[int]]:
    rows, lengths = minilm.tokenize(tf.constant([text.encode() for text in texts]))
    assert rows.shape[1] == max(lengths.numpy())
    return [
        row[:length].tolist() for row, length in zip(rows.numpy(), lengths.numpy(), strict=True)
    ]


def authors_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def test_token_ids_are_those_of_the_models_own_tokenizer(
    minilm: MiniLM, tokenizer: Tokenizer
) -> None:
    assert len(VARIED) == 200
    ours, theirs = ids(minilm, VARIED), authors_ids(tokenizer, VARIED)
    assert [t for t, a, b in zip(VARIED, ours, theirs, strict=True) if a != b] == []


# Characters on whose nature every version of Unicode agrees; the tokenizer's is an old one.
CHARACTERS = [
    char
    for char in map(chr, range(0x110000))
    if unicodedata.category(char) == unicodedata.ucd_3_2_0.category(char)
    and unicodedata.category(char) not in ("Cn", "Co", "Cs")
]


def test_every_character_is_treated_as_the_models_own_tokenizer_treats_it(
    minilm: MiniLM, tokenizer: Tokenizer
) -> None:
    texts = [f"ab{char}cd" for char in CHARACTERS]
    assert len(texts) > 90_000
    ours, theirs = ids(minilm, texts), authors_ids(tokenizer, texts)
    assert [t for t, a, b in zip(texts, ours, theirs, strict=True) if a != b] == []


@given(st.lists(st.text(st.sampled_from(CHARACTERS)), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_any_text_is_tokenized_as_the_models_own_tokenizer_does(
    minilm: MiniLM, tokenizer: Tokenizer, texts: list[str]
) -> None:
    assert ids(minilm, texts) == authors_ids(tokenizer, texts)


def test_a_special_token_in_a_text_is_plain_text(minilm: MiniLM) -> None:
    (row,) = ids(minilm, ["[SEP]"])
    assert row == ids(minilm, ["[ sep ]"])[0]


def numpy_embedding(
    token_ids: Sequence[int], w: dict[str, np.ndarray], types: Sequence[int] | int = 0
) -> np.ndarray:
    """One text's embedding by the formulas of the papers, with weights `w` in double precision."""
    config = json.loads((FOLDER / "config.json").read_text())
    heads, size = config["num_attention_heads"], config["hidden_size"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        deviation = np.sqrt(x.var(axis=-1, keepdims=True) + config["layer_norm_eps"])
        scaled = (x - x.mean(axis=-1, keepdims=True)) / deviation
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), heads, size // heads).swapaxes(0, 1)

    x = w["embeddings.word_embeddings.weight"][list(token_ids)]
    x = x + w["embeddings.position_embeddings.weight"][: len(x)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][types], "embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        q, k, v = (split(dense(x, f"{name}.attention.self.{p}")) for p in ("query", "key", "value"))
        weights = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(size // heads))
        mixed = weights / weights.sum(axis=-1, keepdims=True) @ v
        mixed = dense(mixed.swapaxes(0, 1).reshape(len(x), size), f"{name}.attention.output.dense")
        x = norm(x + mixed, f"{name}.attention.output.LayerNorm")
        h = dense(x, f"{name}.intermediate.dense")
        h = h * (1 + np.vectorize(math.erf)(h / np.sqrt(2))) / 2
        x = norm(x + dense(h, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_embeddings_are_those_of_a_plain_forward_pass(embed: Embed, tokenizer: Tokenizer) -> None:
    texts = [*SENTENCES, "", "日本語のテキスト", "word " * 200]
    weights = load_file(FOLDER / "model.safetensors")
    weights = {name: values.astype(np.float64) for name, values in weights.items()}
    expected = [numpy_embedding(row, weights) for row in authors_ids(tokenizer, texts)]
    np.testing.assert_allclose(embed(texts), expected, atol=1e-5)


PAIRS = [
    ("Fresh pasta", "Made by hand every day, and at your door tonight."),
    ("日本語のテキスト", "Crème brûlée à la carte"),
    ("word " * 100, "another " * 100),
    ("word " * 100, "short"),
    ("short", "word " * 100),
    ("word " * 29, "another " * 40),
]


def test_pairs_are_tokenized_and_embedded_as_the_papers_say(tokenizer: Tokenizer) -> None:
    most = 63  # for each sentence the same room
    own = Tokenizer.from_str(tokenizer.to_str())
    own.enable_truncation(most)
    expected = own.encode_batch(PAIRS)
    pair = MiniLM(most, pair=True)
    ids, types, lengths = pair.tokenize_pair(*map(tf.constant, zip(*PAIRS, strict=True)))
    rows = zip(ids.numpy(), types.numpy(), lengths.numpy(), strict=True)
    found = [(row[:length].tolist(), of[:length].tolist()) for row, of, length in rows]
    assert found == [(each.ids, each.type_ids) for each in expected]

    weights = load_file(FOLDER / "model.safetensors")
    weights = {name: values.astype(np.float64) for name, values in weights.items()}
    vectors = [numpy_embedding(each.ids, weights, each.type_ids) for each in expected]
    texts = tf.constant(["\n".join(each) for each in PAIRS])
    np.testing.assert_allclose(pair(texts), vectors, atol=1e-5)


def test_a_pair_without_a_second_sentence_is_a_text(minilm: MiniLM) -> None:
    texts = tf.constant(["Fresh pasta", "", "word " * 200])
    pair = MiniLM(MAX_TOKENS, pair=True)
    np.testing.assert_allclose(pair(texts)[:2], minilm(texts)[:2], atol=1e-6)
    assert pair(texts).shape == (3, 384)


def test_sentences_of_one_meaning_are_nearest(embed: Embed) -> None:
    flight, also_flight, card, also_card, *_ = embed(SENTENCES)
    assert flight @ also_flight > 0.6
    assert card @ also_card > 0.5
    assert max(flight @ card, flight @ also_card, also_flight @ card, also_flight @ also_card) < 0.3


def test_the_batch_does_not_change_an_embedding(embed: Embed) -> None:
    together = embed([*SENTENCES, "word " * 200])[:-1]
    alone = np.concatenate([embed([text]) for text in SENTENCES])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_an_empty_batch_has_no_embeddings(embed: Embed) -> None:
    assert embed([]).shape == (0, 384)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_any_bytes_have_an_embedding_of_length_one(embed: Embed, texts: list[bytes]) -> None:
    np.testing.assert_allclose(np.linalg.norm(embed(texts), axis=1), 1, rtol=1e-5)
