"""The node that pushes: TFX's Pusher with an executor that knows of several models."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter
from tfx.types.standard_artifacts import ExampleStatistics, PushedModel
from tfx.types.standard_component_specs import PusherSpec
from tfx.utils import json_utils

from components.pusher import executor


class ClickPusherSpec(PusherSpec):
    """TFX's Pusher's, and the statistics of the data."""

    INPUTS: ClassVar = {
        **PusherSpec.INPUTS,
        executor.STATISTICS: ChannelParameter(type=ExampleStatistics),
    }


class ClickPusher(BaseComponent):
    """Pushes all models under one version, where TFX's Pusher takes one model.

    `click_pusher` makes it; `components.pusher.publish` does the work.
    """

    SPEC_CLASS = ClickPusherSpec
    EXECUTOR_SPEC = ExecutorClassSpec(executor.Executor)


def click_pusher(
    model: BaseChannel,
    blessing: BaseChannel,
    infra_blessing: BaseChannel | None,
    statistics: BaseChannel,
    serving_root: Path,
    keep_versions: int,
    cache_key: str,
    again: bool = False,
) -> ClickPusher:
    """Returns the node `pusher`.

    Args:
        model: The Trainer's model.
        blessing: The Evaluator's blessing.
        infra_blessing: The blessing of a node that loaded and queried the exports, if there is one.
        statistics: Of the data; those of the train split are added to the click model.
        serving_root: Where models are served from: `<root>/<model>/<version>`.
        keep_versions: How many of the newest versions stay.
        cache_key: `push_cache_key(serving_root)` when the run starts: with it the node is cached
            only while what it pushed is in service.
        again: Whether a model that was withdrawn is pushed again.
    """
    config = {
        executor.SERVING_ROOT: str(serving_root),
        executor.KEEP_VERSIONS: keep_versions,
        executor.CACHE_KEY: cache_key,
        executor.AGAIN: again,
    }
    spec = ClickPusherSpec(
        model=model,
        model_blessing=blessing,
        infra_blessing=infra_blessing,
        statistics=statistics,
        custom_config=json_utils.dumps(config),
        pushed_model=Channel(type=PushedModel),
    )
    return ClickPusher(spec=spec).with_id("pusher")
