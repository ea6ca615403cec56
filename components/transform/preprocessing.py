"""What Transform does to a row: the user becomes one-hot, the ad becomes its BERT embedding."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from components.features import (
    AD_EMBEDDING,
    AD_ID_ONE_HOT,
    CONTEXT_ONE_HOT,
    USER_ID_ONE_HOT,
    USER_ONE_HOT,
    USER_UNKNOWN,
    Columns,
)
from components.transform import ad_memo, one_hot
from components.transform.categories import encode_id


def preprocessing_fn(
    inputs: dict[str, tf.SparseTensor | tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.SparseTensor | tf.Tensor]:
    """Maps raw columns to `user_one_hot` [B, S, width] (sparse) and `ad_embedding` [B, H].

    `user_one_hot` has a slot for each attribute's value, several where the attribute can have
    several; `user_unknown` [S] is what takes the place of a slot where the value is not known, see
    layout.Part. Where the model uses ids, these become one-hot in one slot each, too:
    `user_id_one_hot`, `ad_id_one_hot`; and so does what it knows in training only:
    `context_one_hot`.

    Args:
        inputs: the columns of the schema, each [B, 1]; attributes sparse, the text dense.
        custom_config: `columns` (as in features.Columns), `encoder_folder`, `user_id`, `ad_id`,
            `training_only` (columns beside the position), `multi_valued`, and what can be set of
            Transform; `notes_folder`, if there is one, gets what is worth knowing of the data.
    """
    columns = Columns(**custom_config["columns"])
    notes_folder = custom_config.get("notes_folder")
    users = one_hot.encode(
        {name: inputs[name] for name in columns.attributes(inputs)},
        max_categories=custom_config["max_categories"],
        most_buckets=custom_config["buckets"],
        separators=custom_config["multi_valued"],
        notes_folder=notes_folder,
    )
    outputs = {
        USER_ONE_HOT: one_hot.sparse(users),
        USER_UNKNOWN: users.unknown,
        AD_EMBEDDING: ad_memo.embed(
            inputs[columns.text][:, 0],
            custom_config["encoder_folder"],
            memo=custom_config["ad_memo"],
            max_ads=custom_config["max_ads"],
            notes_folder=notes_folder,
        ),
    }
    context = columns.context(custom_config["training_only"])
    if context:
        training_only = one_hot.encode(
            {name: inputs[name] for name in context},
            max_categories=custom_config["max_categories"],
            most_buckets=custom_config["buckets"],
            separators={},
            notes_folder=notes_folder,
        )
        outputs[CONTEXT_ONE_HOT] = one_hot.sparse(training_only)
    ids = {}
    if custom_config["user_id"]:
        ids[USER_ID_ONE_HOT] = str(columns.user_id)
    if custom_config["ad_id"]:
        ids[AD_ID_ONE_HOT] = columns.ad_id
    for output, name in ids.items():
        values = one_hot.dense(inputs[name], "")
        outputs[output] = one_hot.sparse(encode_id(values, custom_config["max_ids"], name))
    return outputs
