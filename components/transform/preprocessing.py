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
    Columns,
)
from components.transform import ad_memo, categories


def preprocessing_fn(
    inputs: dict[str, tf.SparseTensor | tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.SparseTensor | tf.Tensor]:
    """Maps raw columns to `user_one_hot` [B, width] (sparse) and `ad_embedding` [B, H].

    Where the model uses ids, these become one-hot, too: `user_id_one_hot`, `ad_id_one_hot`; and so
    does what it knows in training only: `context_one_hot`.

    Args:
        inputs: the columns of the schema, each [B, 1]; attributes sparse, the text dense.
        custom_config: `columns` (as in features.Columns), `encoder_folder`, `user_id`, `ad_id`,
            `training_only` (columns beside the position), and what pipeline/config.py has for
            Transform.
    """
    columns = Columns(**custom_config["columns"])
    outputs = {
        USER_ONE_HOT: categories.one_hot(
            {name: inputs[name] for name in columns.attributes(inputs)},
            max_categories=custom_config["max_categories"],
            buckets=custom_config["buckets"],
        ),
        AD_EMBEDDING: ad_memo.embed(
            inputs[columns.text][:, 0],
            custom_config["encoder_folder"],
            memo=custom_config["ad_memo"],
            max_ads=custom_config["max_ads"],
        ),
    }
    context = columns.context(custom_config["training_only"])
    if context:
        outputs[CONTEXT_ONE_HOT] = categories.one_hot(
            {name: inputs[name] for name in context},
            max_categories=custom_config["max_categories"],
            buckets=custom_config["buckets"],
        )
    ids = {}
    if custom_config["user_id"]:
        ids[USER_ID_ONE_HOT] = str(columns.user_id)
    if custom_config["ad_id"]:
        ids[AD_ID_ONE_HOT] = columns.ad_id
    for output, name in ids.items():
        outputs[output] = categories.one_hot(
            {name: categories.missing_as_unseen(inputs[name])},
            max_categories=custom_config["max_ids"],
            buckets=0,
        )
    return outputs
