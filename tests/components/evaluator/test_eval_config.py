"""What the settings make of TFMA's configuration, and what they are told when they cannot."""

from __future__ import annotations

import json

import pytest
from tensorflow_model_analysis.utils.config_util import verify_eval_config

from components.errors import InputError
from components.evaluator.eval_config import eval_config
from components.evaluator.settings import EvaluatorSettings
from components.features import Columns


def made(**settings):
    return eval_config(EvaluatorSettings(**settings), Columns())


def test_it_is_one_that_tfma_takes():
    config = made(
        metrics=["BalancedAccuracy", {"class_name": "AUC", "config": {"num_thresholds": 50}}],
        slices=[{"feature_keys": ["att_device"], "feature_values": {"att_age": 30}}],
        crosses=[["att_device", "att_os"]],
    )
    verify_eval_config(config)
    assert config.model_specs[0].label_key == "clicked"
    named = config.metrics_specs[1].metrics
    assert [metric.class_name for metric in named] == ["BalancedAccuracy", "AUC"]
    assert json.loads(named[1].config) == {"num_thresholds": 50}
    assert [sorted(spec.feature_keys) for spec in config.slicing_specs] == [
        [],
        ["att_device", "att_os"],
        ["att_device"],
    ]
    assert dict(config.slicing_specs[2].feature_values) == {"att_age": "30"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ["BalancedAcuracy"]}, "did you mean BalancedAccuracy"),
        (
            {"metrics": [{"class_name": "BalancedAccuracy", "config": {"slope": 1}}]},
            "unexpected keyword argument 'slope'",
        ),
        (
            {"metrics": [{"class_name": "Mine", "module": "no.such.module"}]},
            "No module named 'no'",
        ),
        (
            {"rules": [{"metric": "balanced_accuracy", "at_least": 0.5}]},
            "balanced_accuracy: no such metric is measured; there are ad_auc, ",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_before_a_run(settings, message):
    with pytest.raises(InputError, match=message):
        made(**settings)


def test_rules_and_slices_must_say_something():
    with pytest.raises(ValueError, match="expected at_least, at_most or both"):
        EvaluatorSettings(rules=[{"metric": "auc"}])
    with pytest.raises(ValueError, match="expected feature_keys, feature_values or both"):
        EvaluatorSettings(slices=[{}])
