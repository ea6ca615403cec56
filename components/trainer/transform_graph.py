"""Transform's graph, cut into parts: attributes to one-hot positions, text to embedding, ids.

The whole graph needs every raw column and holds BERT. A user tower needs neither, so each part is
pruned to what it computes and holds only the variables that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's ops
import tensorflow_transform as tft

from components.features import (
    AD_EMBEDDING,
    AD_ID_ONE_HOT,
    AD_ONE_HOT,
    AD_UNKNOWN,
    CONTEXT_ONE_HOT,
    USER_ID_ONE_HOT,
    USER_ONE_HOT,
    USER_UNKNOWN,
    Columns,
)
from components.trainer.two_tower import AD_ATTRIBUTES, AD_ID, ADS, CONTEXT, USER, USER_ID
from components.transform import one_hot

Column: TypeAlias = tf.Tensor | tf.SparseTensor

_MOST_INTEGER = 2.0**53  # What a request's number may be without a cast going astray.


class TransformGraph:
    """What Transform found, and how it maps raw columns to the model's inputs.

    Args:
        folder: the transform graph artifact.
        columns: which columns hold the text, the ids, the label and the attributes.
        training_only: columns beside the position that are known in training only.

    Attributes:
        user_inputs: the columns that describe a user, with their types in a request.
        ad_inputs: the columns that describe an ad, with their types in a request.
        context_inputs: the columns that are known in training only, with their types.
        parts: the model's inputs that an impression has beside its ad, with how many numbers each.
        user_width: columns of the one-hot user vector.
        user_unknown: what takes the place of each slot of the positions where an attribute's value
            is not known [S], see transform.layout.Part.
        ad_width: numbers in an ad's embedding.
        ad_attribute_width: columns of the one-hot vector of an ad's attributes; 0 for none.
        ad_unknown: the same of an ad's attributes as `user_unknown` of a user's.
        user_ids: how many user ids there are, the unseen one among them; 0 where none are used.
        ad_ids: the same of ads.
        context_width: columns of the one-hot vector of what is known in training only.
        encoder_variables: what a SavedModel that embeds must hold.
    """

    def __init__(self, folder: str, columns: Columns, training_only: Sequence[str] = ()) -> None:
        output = tft.TFTransformOutput(folder)
        self._spec = output.raw_feature_spec()
        self._saved_model = tf.saved_model.load(output.transform_savedmodel_dir)
        transform_fn = self._saved_model.transform_fn
        of_users = columns.user_attributes(self._spec)
        of_ads = columns.ad_attributes(self._spec)
        self._user = {USER: _Part(transform_fn, of_users, USER_ONE_HOT)}
        self._ad = {ADS: _Part(transform_fn, columns.ad_texts, AD_EMBEDDING)}
        if of_ads:
            self._ad[AD_ATTRIBUTES] = _Part(transform_fn, of_ads, AD_ONE_HOT)
        if USER_ID_ONE_HOT in transform_fn.structured_outputs:
            self._user[USER_ID] = _Part(transform_fn, [str(columns.user_id)], USER_ID_ONE_HOT)
        if AD_ID_ONE_HOT in transform_fn.structured_outputs:
            self._ad[AD_ID] = _Part(transform_fn, [columns.ad_id], AD_ID_ONE_HOT)

        context = columns.context(training_only)
        self._context = {CONTEXT: _Part(transform_fn, context, CONTEXT_ONE_HOT)} if context else {}

        self.user_inputs = self._types(self._user.values())
        self.ad_inputs = self._types(self._ad.values())
        self.context_inputs = self._types(self._context.values())
        self.parts = {
            name: self._size(part, slots=True)
            for name, part in [*self._user.items(), *self._context.items()]
        }
        self.user_width = self._size(self._user[USER])
        self.user_unknown = _unknown(transform_fn, USER_UNKNOWN)
        self.ad_attribute_width = self._size(self._ad[AD_ATTRIBUTES]) if of_ads else 0
        self.ad_unknown = _unknown(transform_fn, AD_UNKNOWN) if of_ads else []
        self.user_ids = self._size(self._user[USER_ID]) if USER_ID in self._user else 0
        self.ad_ids = self._size(self._ad[AD_ID]) if AD_ID in self._ad else 0
        self.context_width = self._size(self._context[CONTEXT]) if context else 0
        self.ad_width = transform_fn.structured_outputs[AD_EMBEDDING].shape[1]
        self.encoder_variables = transform_fn.variables

    def from_examples(self, examples: tf.Tensor, names: Iterable[str]) -> dict[str, Column]:
        """Parses columns of serialized tf.Examples [B]; strings may be absent."""
        spec = {name: _optional(self._spec[name]) for name in names}
        return tf.io.parse_example(examples, spec)

    def to_request(
        self, columns: Mapping[str, Column], names: Iterable[str]
    ) -> dict[str, tf.Tensor]:
        """Turns parsed columns into those of a request, each [B], "" and NaN missing."""
        return {name: _as_requested(columns[name]) for name in names}

    def from_request(self, values: Mapping[str, tf.Tensor]) -> dict[str, Column]:
        """Turns the columns of a request, each [B], "" and NaN missing, into what parsing gives."""
        return {name: _column(each, self._spec[name]) for name, each in values.items()}

    def users(self, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        """Returns the model's inputs: USER, where the ones are [B, S], and USER_ID [B] if used.

        A slot of USER that stays empty is -1.
        """
        inputs = {USER: self._user[USER].positions(columns)}
        if USER_ID in self._user:
            inputs[USER_ID] = self._user[USER_ID].positions(columns)[:, 0]
        return inputs

    def context(self, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        """Returns the model's input CONTEXT, where the ones are [B, M]; none if not used."""
        return {name: part.positions(columns) for name, part in self._context.items()}

    def ads(self, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        """Returns the model's inputs of ads.

        ADS, the embeddings [B, H]; AD_ATTRIBUTES, where the ones are [B, S], -1 in a slot that
        stays empty, if ads have any; and AD_ID [B] if used.

        BERT runs for texts that are not in the memo only.
        """
        inputs = {ADS: self._ad[ADS](columns)}
        if AD_ATTRIBUTES in self._ad:
            inputs[AD_ATTRIBUTES] = self._ad[AD_ATTRIBUTES].positions(columns)
        if AD_ID in self._ad:
            inputs[AD_ID] = self._ad[AD_ID].positions(columns)[:, 0]
        return inputs

    def _types(self, parts: Iterable[_Part]) -> dict[str, tf.DType]:
        names = [name for part in parts for name in part.columns]
        strings = {name: self._spec[name].dtype == tf.string for name in names}
        return {name: tf.string if strings[name] else tf.float32 for name in names}

    def _size(self, part: _Part, *, slots: bool = False) -> int:
        """Returns the width of one-hot vectors, or how many slots they have in training."""
        no_rows = {name: tf.zeros([0], self._types([part])[name]) for name in part.columns}
        return int(part(self.from_request(no_rows)).dense_shape[1 if slots else 2])


class _Part:
    """The part of `transform_fn` that computes `output`, as a function of some columns."""

    def __init__(self, transform_fn: Any, columns: list[str], output: str) -> None:
        self.columns = columns
        self._function = _part(transform_fn, columns, output)

    def __call__(self, columns: Mapping[str, Column]) -> Column:
        return self._function(*(columns[name] for name in self.columns))

    def positions(self, columns: Mapping[str, Column]) -> tf.Tensor:
        """Returns where the ones of one-hot vectors are, by slot [B, S] int32; -1 for none."""
        vectors = self(columns)
        slots = tf.SparseTensor(
            vectors.indices[:, :2],
            tf.cast(vectors.indices[:, 2], tf.int32),
            vectors.dense_shape[:2],
        )
        return tf.sparse.to_dense(slots, default_value=-1)


def _part(transform_fn: Any, columns: list[str], output: str) -> Callable[..., Column]:
    """Returns the part of `transform_fn` that computes `output`, as a function of `columns`."""
    graph = transform_fn.graph
    atoms = len(graph.inputs) - len(transform_fn.captured_inputs)
    (placeholders,), _ = tf.nest.pack_sequence_as(
        transform_fn.structured_input_signature, graph.inputs[:atoms], expand_composites=True
    )
    outputs = tf.nest.pack_sequence_as(
        transform_fn.structured_outputs, graph.outputs, expand_composites=True
    )
    fetches = _atoms(outputs[output])
    part = _needed_for([fetch.op.name for fetch in fetches], graph.as_graph_def())
    used = {node.name for node in part.node}
    # What analysis found, and the encoder's variables, come into the graph as further inputs.
    feeds = _atoms([placeholders[name] for name in columns]) + graph.inputs[atoms:]

    @tf.function(autograph=False)
    def function(*values: Column) -> Column:
        fed = zip(feeds, _atoms(values) + transform_fn.captured_inputs, strict=True)
        results = tf.graph_util.import_graph_def(
            part,
            input_map={f.name: tf.identity(value) for f, value in fed if f.op.name in used},
            return_elements=[fetch.name for fetch in fetches],
            name="",
        )
        return tf.nest.pack_sequence_as(outputs[output], results, expand_composites=True)

    return function


def _needed_for(outputs: list[str], graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """Cuts `graph` down to the nodes that the values of `outputs` depend on."""
    for node in graph.node:
        # Control inputs tie every output to every stateful node, BERT's call among them.
        data = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(data)
    return tf.compat.v1.graph_util.extract_sub_graph(graph, outputs)


def _atoms(structure: Any) -> list[tf.Tensor]:
    """Flattens nested tensors, sparse ones to their components."""
    return tf.nest.flatten(structure, expand_composites=True)


def _unknown(transform_fn: Any, output: str) -> list[int]:
    """Returns what takes the place of each slot of one-hot vectors where a value is not known."""
    found: list[int] = _Part(transform_fn, [], output)({}).numpy().tolist()
    return found


def flat(column: Column) -> tf.Tensor:
    """Turns a column [B, 1] that every row has into [B]."""
    return tf.reshape(column.values if isinstance(column, tf.SparseTensor) else column, [-1])


def _as_requested(column: Column) -> tf.Tensor:
    if column.dtype == tf.string:
        return one_hot.dense(column, "")
    return one_hot.dense(tf.cast(column, tf.float32), float("nan"))


def _optional(spec: Any) -> Any:
    is_string = isinstance(spec, tf.io.FixedLenFeature) and spec.dtype == tf.string
    return spec._replace(default_value="") if is_string else spec


def _column(values: tf.Tensor, spec: Any) -> Column:
    """Turns [B] into [B, 1], dense or sparse as the schema has it."""
    if isinstance(spec, tf.io.FixedLenFeature):
        return values[:, None]
    present = values != "" if spec.dtype == tf.string else ~tf.math.is_nan(values)
    rows = tf.where(present)
    indices = tf.concat([rows, tf.zeros_like(rows)], axis=1)
    shape = tf.stack([tf.size(values, tf.int64), 1])
    there = tf.gather_nd(values, rows)
    if spec.dtype == tf.int64:
        there = tf.clip_by_value(there, -_MOST_INTEGER, _MOST_INTEGER)
    return tf.SparseTensor(indices, tf.cast(there, spec.dtype), shape)
