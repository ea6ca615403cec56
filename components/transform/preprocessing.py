"""What Transform does to a row: the user becomes one-hot, the ad becomes its BERT embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.ad_text_tensors import joined_tensor
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
from components.transform import ad_memo, one_hot
from components.transform.categories import encode_id
from components.transform.counted import counted
from components.transform.layout import Part


def preprocessing_fn(
    inputs: dict[str, tf.SparseTensor | tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.SparseTensor | tf.Tensor]:
    """Maps raw columns to `user_one_hot` [B, S, width] (sparse) and `ad_embedding` [B, H].

    `user_one_hot` has a slot for each attribute's value, several where the attribute can have
    several; `user_unknown` [S] is what takes the place of a slot where the value is not known, see
    layout.Part. Where ads have attributes beside the text, `ad_one_hot` and `ad_unknown` are the
    same of those. Where the model uses ids, these become one-hot in one slot each, too:
    `user_id_one_hot`, `ad_id_one_hot`; and so does what it knows in training only:
    `context_one_hot`.

    Args:
        inputs: the columns of the schema, each [B, 1]; attributes sparse, the text dense.
        custom_config: `columns` (as in features.Columns), `encoder_folder`, `user_id`, `ad_id`,
            `training_only` (columns beside the position), `multi_valued`, and what can be set of
            Transform; `notes_folder`, if there is one, gets what is worth knowing of the data;
            `examples`, if it is there, is the folder of Examples of whose `splits` the values may
            be counted already, and `embeddings` that of embeddings which are kept for the next run.
    """
    columns = Columns(**custom_config["columns"])
    notes_folder = custom_config.get("notes_folder")
    examples = custom_config.get("examples")
    splits = tuple(custom_config.get("splits", ()))
    counts = counted(examples, splits, str(notes_folder)) if examples else None

    def encode(names: list[str], separators: Mapping[str, str]) -> Part:
        return one_hot.encode(
            {name: inputs[name] for name in names},
            max_categories=custom_config["max_categories"],
            most_buckets=custom_config["buckets"],
            separators=separators,
            notes_folder=notes_folder,
            counts=counts,
        )

    users = encode(columns.user_attributes(inputs), custom_config["multi_valued"])
    outputs = {
        USER_ONE_HOT: one_hot.sparse(users),
        USER_UNKNOWN: users.unknown,
        AD_EMBEDDING: ad_memo.embed(
            joined_tensor([one_hot.dense(inputs[name], "") for name in columns.ad_texts]),
            custom_config["encoder_folder"],
            memo=custom_config["ad_memo"],
            max_ads=custom_config["max_ads"],
            notes_folder=notes_folder,
            counts=counts,
            column=columns.ad_texts[0],
            kept=custom_config.get("embeddings"),
        ),
    }
    if of_ads := columns.ad_attributes(inputs):
        ads = encode(of_ads, custom_config["multi_valued"])
        outputs |= {AD_ONE_HOT: one_hot.sparse(ads), AD_UNKNOWN: ads.unknown}
    if context := columns.context(custom_config["training_only"]):
        outputs[CONTEXT_ONE_HOT] = one_hot.sparse(encode(context, {}))
    ids = {}
    if custom_config["user_id"]:
        ids[USER_ID_ONE_HOT] = str(columns.user_id)
    if custom_config["ad_id"]:
        ids[AD_ID_ONE_HOT] = columns.ad_id
    for output, name in ids.items():
        values = one_hot.dense(inputs[name], "")
        outputs[output] = one_hot.sparse(encode_id(values, custom_config["max_ids"], name, counts))
    return outputs
