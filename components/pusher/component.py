"""The node that pushes: TFX's Pusher with an executor that knows of several models."""

from __future__ import annotations

from pathlib import Path

from tfx.components import Pusher
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import BaseChannel

from components.pusher import executor


class ClickPusher(Pusher):
    """TFX's Pusher, publishing through `components.pusher.publish`."""

    EXECUTOR_SPEC = ExecutorClassSpec(executor.Executor)


def click_pusher(
    model: BaseChannel,
    blessing: BaseChannel,
    infra_blessing: BaseChannel | None,
    serving_root: Path,
    keep_versions: int,
    ticket: str,
) -> ClickPusher:
    """Returns the node `pusher`.

    Args:
        model: The Trainer's model.
        blessing: The Evaluator's blessing.
        infra_blessing: The blessing of a node that loaded and queried the exports, if there is one.
        serving_root: Where models are served from: `<root>/<model>/<version>`.
        keep_versions: How many of the newest versions stay.
        ticket: `publish.ticket(serving_root)`, drawn when the run starts: with it the node is
            cached only while what it pushed is the newest version in the root.
    """
    config = {
        executor.SERVING_ROOT: str(serving_root),
        executor.KEEP_VERSIONS: keep_versions,
        executor.TICKET: ticket,
    }
    pusher = ClickPusher(
        model=model,
        model_blessing=blessing,
        infra_blessing=infra_blessing,
        custom_config=config,
    )
    return pusher.with_id("pusher")
