"""The names under which the pushed models are served, with their signature and tensors.

They are the contract between the models and whoever asks them, so they are written down on both
sides; a test compares these with those that the models are exported with.
"""

from __future__ import annotations

ITEM_TOWER = "item_tower"
USER_TOWER = "user_tower"
CLICK_MODEL = "click_model"
RECOMMENDER = "recommender"

RAW_SIGNATURE = "serving_default"

K = "k"
ALLOWED_AD_IDS = "allowed_ad_ids"
EXCLUDED_AD_IDS = "excluded_ad_ids"
MINIMUM_PROBABILITY = "minimum_probability"
EMBEDDING = "embedding"
LOGIT_EMBEDDING = "logit_embedding"
PROBABILITY = "probability"
AD_IDS = "ad_ids"
TEXTS = "texts"
PROBABILITIES = "probabilities"
MODEL_VERSION = "model_version"
