"""Compiling text encoders: the interface, the cache, and pairs with TF Hub's BERT interface."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tensorflow_text as text
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from components.errors import InputError
from components.trainer.serving_ops import unsupported_ops
from components.transform import text_encoder
from components.transform.minilm import MiniLM
from components.transform.text_encoder import MINILM, compile_encoder

TEXTS = ["hello world", "worlds", "", "hello hello hello hello unheard of"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "##s"]
MAX_TOKENS = 8
WIDTH = 768


class Preprocessor(tf.Module):
    """TF Hub's interface of a BERT preprocessor, with a vocabulary in a file."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        self.tokenizer = text.BertTokenizer(
            str(vocabulary), token_out_type=tf.int32, lower_case=True
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self.tokenizer.tokenize(texts)

    @tf.function(
        input_signature=[
            [tf.RaggedTensorSpec([None, None, None], tf.int32)],
            tf.TensorSpec([], tf.int32),
        ]
    )
    def bert_pack_inputs(
        self, segments: list[tf.RaggedTensor], seq_length: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        pieces = segments[0].merge_dims(-2, -1)[:, : seq_length - 2]
        ids, types = text.combine_segments([pieces], 2, 3)
        ids, mask = text.pad_model_inputs(ids, seq_length)
        types, _ = text.pad_model_inputs(types, seq_length)
        return {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.bert_pack_inputs([self.tokenize(texts)], 128)


class PlainPreprocessor(tf.Module):
    """The same without the optional parts of the interface."""

    def __init__(self, whole: Preprocessor) -> None:
        super().__init__()
        self.whole = whole

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.whole(texts)


class BertEncoder(tf.Module):
    """TF Hub's interface of a BERT encoder, around a mean of embeddings."""

    def __init__(self, seed: int = 1, output: str = "pooled_output") -> None:
        super().__init__()
        values = np.random.default_rng(seed).normal(size=[len(VOCABULARY), WIDTH])
        self.table = tf.Variable(values, dtype=tf.float32)
        self.unused = tf.Variable(tf.zeros([1000, 1000]))
        self.output = output

    @tf.function(
        input_signature=[
            {
                name: tf.TensorSpec([None, None], tf.int32, name)
                for name in ("input_word_ids", "input_mask", "input_type_ids")
            }
        ]
    )
    def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        mask = tf.cast(inputs["input_mask"], tf.float32)[:, :, None]
        tokens = tf.gather(self.table, inputs["input_word_ids"]) * mask
        return {self.output: tf.reduce_sum(tokens, 1) / tf.reduce_sum(mask, 1)}

    @tf.function(input_signature=[])
    def not_needed(self) -> tf.Tensor:
        return self.unused


def save(model: tf.Module, folder: Path) -> str:
    tf.saved_model.save(model, str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("hub")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY))
    preprocessor = save(Preprocessor(vocabulary), folder / "preprocessor")
    vocabulary.unlink()
    return preprocessor, save(BertEncoder(), folder / "encoder")


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_encoder(MINILM, None, 128, tmp_path_factory.mktemp("cache"))


def embed(folder: Path, texts: list[str]) -> np.ndarray:
    return text_encoder.load(folder)(tf.constant(texts)).numpy()


def variables(folder: Path) -> list[tf.Variable]:
    encoder = text_encoder.load(folder)
    parts = tf.train.TrackableView(encoder).descendants()
    return [part for part in parts if isinstance(part, tf.Variable)]


def test_minilm_is_what_it_was_before_it_was_compiled(minilm: Path) -> None:
    np.testing.assert_allclose(embed(minilm, TEXTS), MiniLM(128)(tf.constant(TEXTS)), atol=1e-6)


def test_minilm_is_a_saved_model_from_strings_to_pooled_output(minilm: Path) -> None:
    output = tf.saved_model.load(str(minilm))(tf.constant(TEXTS))
    assert {name: (value.dtype, value.shape) for name, value in output.items()} == {
        "pooled_output": (tf.float32, [len(TEXTS), 384])
    }


def test_minilm_is_lean(minilm: Path) -> None:
    encoder = text_encoder.load(minilm)
    graph = tf.function(encoder).get_concrete_function(tf.TensorSpec([None], tf.string)).graph
    functions = graph.as_graph_def().library.function
    # The model and the call to it; the model's 23 million parameters, without BERT's own pooler.
    assert len(functions) == 2
    assert sum(len(function.node_def) for function in functions) < 700
    parameters = sum(variable.shape.num_elements() for variable in variables(minilm))
    assert parameters == 22_713_216 - 384 * 385


def test_a_compiled_encoder_needs_only_ops_of_a_stock_server(
    minilm: Path, pair: tuple[str, str], tmp_path: Path
) -> None:
    assert unsupported_ops(minilm) == []
    assert unsupported_ops(compile_encoder(pair[1], pair[0], MAX_TOKENS, tmp_path)) == []


def test_an_encoder_works_within_transform(minilm: Path, tmp_path: Path) -> None:
    def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        encoder = tft.make_and_track_object(lambda: text_encoder.load(minilm), name="encoder")
        assert text_encoder.width(encoder) == 384
        return {"embedding": encoder(inputs["text"])}

    spec = {"text": tf.io.FixedLenFeature([], tf.string)}
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    rows = [{"text": text.encode()} for text in TEXTS]
    with tft_beam.Context(temp_dir=str(tmp_path)):
        (transformed, _), _ = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            preprocessing_fn
        )
    np.testing.assert_allclose(
        np.array([row["embedding"] for row in transformed]), embed(minilm, TEXTS), atol=1e-6
    )


def test_a_pair_gives_what_its_parts_give(pair: tuple[str, str], tmp_path: Path) -> None:
    folder = compile_encoder(pair[1], pair[0], MAX_TOKENS, tmp_path)
    preprocessor, encoder = map(hub.load, pair)
    tokens = preprocessor.tokenize(tf.constant(TEXTS))
    inputs = preprocessor.bert_pack_inputs([tokens], tf.constant(MAX_TOKENS))
    np.testing.assert_allclose(embed(folder, TEXTS), encoder(inputs)["pooled_output"], atol=1e-6)
    assert text_encoder.width(text_encoder.load(folder)) == WIDTH


def test_a_compiled_pair_stands_alone_and_is_lean(pair: tuple[str, str], tmp_path: Path) -> None:
    copies = [shutil.copytree(part, tmp_path / Path(part).name) for part in pair]
    folder = compile_encoder(str(copies[1]), str(copies[0]), MAX_TOKENS, tmp_path / "cache")
    before = embed(folder, TEXTS)
    for copy in copies:
        shutil.rmtree(copy)
    np.testing.assert_array_equal(embed(folder, TEXTS), before)
    assert [variable.shape for variable in variables(folder)] == [[len(VOCABULARY), WIDTH]]


def test_a_preprocessor_may_lack_the_optional_parts(pair: tuple[str, str], tmp_path: Path) -> None:
    plain = save(PlainPreprocessor(hub.load(pair[0])), tmp_path / "plain")
    folder = compile_encoder(pair[1], plain, MAX_TOKENS, tmp_path / "cache")
    expected = hub.load(pair[1])(hub.load(pair[0])(tf.constant(TEXTS)))["pooled_output"]
    np.testing.assert_allclose(embed(folder, TEXTS), expected, atol=1e-6)


def test_the_fingerprint_is_of_the_encoder_and_not_of_the_place(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    def compiled(encoder: str, max_tokens: int, cache: str) -> tuple[str, str]:
        folder = compile_encoder(encoder, pair[0], max_tokens, tmp_path / cache)
        return folder.name, text_encoder.fingerprint(folder)

    here = compiled(pair[1], MAX_TOKENS, "here")
    copy = shutil.copytree(pair[1], tmp_path / "copy")
    assert compiled(str(copy), MAX_TOKENS, "there") == here
    others = [
        compiled(save(BertEncoder(seed=2), tmp_path / "other"), MAX_TOKENS, "here"),
        compiled(pair[1], MAX_TOKENS + 1, "here"),
    ]
    assert len({name for name, _ in [here, *others]}) == 3
    assert len({fingerprint for _, fingerprint in [here, *others]}) == 3


def test_an_encoder_is_compiled_once(
    pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = compile_encoder(pair[1], pair[0], MAX_TOKENS, tmp_path)
    monkeypatch.setattr(tf.saved_model, "save", None)
    assert compile_encoder(pair[1], pair[0], MAX_TOKENS, tmp_path) == folder
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("saved_model.pb", "lost"),
        ("encoder.json", "cut"),
        ("encoder.json", "changed"),
        ("variables/variables.data-00000-of-00001", "changed"),
    ],
)
def test_a_damaged_entry_is_made_anew(
    pair: tuple[str, str], tmp_path: Path, file: str, damage: str
) -> None:
    folder = compile_encoder(pair[1], pair[0], MAX_TOKENS, tmp_path)
    expected = embed(folder, TEXTS)
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if damage == "cut":
        (folder / file).write_bytes(content[:-5])
    if damage == "changed":
        (folder / file).write_bytes(content[:20] + b"00000" + content[25:])
    assert compile_encoder(pair[1], pair[0], MAX_TOKENS, tmp_path) == folder
    np.testing.assert_array_equal(embed(folder, TEXTS), expected)
    assert list(tmp_path.iterdir()) == [folder]


def test_an_interrupted_compilation_leaves_nothing(
    pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(model: tf.Module, folder: str, **_: object) -> None:
        Path(folder).mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compile_encoder(pair[1], pair[0], MAX_TOKENS, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_several_may_compile_at_once(pair: tuple[str, str], tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        made = pool.map(lambda _: compile_encoder(pair[1], pair[0], MAX_TOKENS, tmp_path), range(3))
        (folder,) = set(made)
    assert embed(folder, TEXTS).shape == (len(TEXTS), WIDTH)
    assert list(tmp_path.iterdir()) == [folder]


def refusal(encoder: str, preprocessor: str | None, cache: Path) -> str:
    with pytest.raises(InputError) as refused:
        compile_encoder(encoder, preprocessor, MAX_TOKENS, cache)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_minilm_takes_no_preprocessor(pair: tuple[str, str], tmp_path: Path) -> None:
    assert "leave the preprocessor out" in refusal(MINILM, pair[0], tmp_path)


def test_another_encoder_needs_a_preprocessor(pair: tuple[str, str], tmp_path: Path) -> None:
    assert pair[1] in refusal(pair[1], None, tmp_path)


def test_what_cannot_be_loaded_is_named(pair: tuple[str, str], tmp_path: Path) -> None:
    message = refusal(str(tmp_path / "nothing"), pair[0], tmp_path)
    assert message.startswith(f"text_encoder.encoder: {tmp_path / 'nothing'} cannot be loaded")
    message = refusal(pair[1], str(tmp_path), tmp_path)
    assert message.startswith(f"text_encoder.preprocessor: {tmp_path} cannot be loaded")
    assert "not on this machine" in refusal(pair[1], __file__, tmp_path)


def test_an_encoder_without_pooled_output_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    encoder = save(BertEncoder(output="sequence_output"), tmp_path / "encoder")
    assert "pooled_output" in refusal(encoder, pair[0], tmp_path / "cache")


def test_parts_that_do_not_fit_are_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    assert "do not work together" in refusal(pair[0], pair[1], tmp_path / "cache")
