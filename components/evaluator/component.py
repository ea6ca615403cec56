"""TFX's Evaluator, for click models: measured by TFMA, judged by rules that say why."""

from __future__ import annotations

from typing import ClassVar

from tfx.components import Evaluator
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import BaseChannel, Channel
from tfx.types.component_spec import ExecutionParameter
from tfx.types.standard_artifacts import ModelBlessing, ModelEvaluation
from tfx.types.standard_component_specs import EvaluatorSpec

from components.evaluator.eval_config import eval_config
from components.evaluator.executor import COLUMNS, MIN_AUC, SERVING_ROOT, SETTINGS, Executor
from components.evaluator.settings import EvaluatorSettings
from components.features import Columns

_PUSH_CACHE_KEY = "push_cache_key"


class ClickEvaluatorSpec(EvaluatorSpec):
    """TFX's, with the rules and the place of the model in service."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        **EvaluatorSpec.PARAMETERS,
        SETTINGS: ExecutionParameter(type=str),
        MIN_AUC: ExecutionParameter(type=float),
        COLUMNS: ExecutionParameter(type=str),
        SERVING_ROOT: ExecutionParameter(type=str),
        _PUSH_CACHE_KEY: ExecutionParameter(type=str),
    }


class ClickEvaluator(Evaluator):
    """TFX's Evaluator with the executor of this folder.

    The model in service, TFMA's baseline, is found in the serving root when the node runs: a
    Resolver would not run on open-source Kubeflow, and would find the last blessed model instead.

    Args:
        examples: Raw tf.Examples with the splits train and eval.
        model: The exports, with the click model among them.
        settings: What is measured and required.
        columns: What the columns are for.
        serving_root: Folder with the models in service.
        push_cache_key: Changes with the model in service, so that no verdict against another is
            cached.
    """

    SPEC_CLASS = ClickEvaluatorSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        model: BaseChannel,
        settings: EvaluatorSettings,
        columns: Columns,
        serving_root: str,
        push_cache_key: str,
    ) -> None:
        spec = ClickEvaluatorSpec(
            examples=examples,
            model=model,
            eval_config=eval_config(settings, columns),
            settings=settings.model_dump_json(),
            min_auc=settings.min_auc,
            columns=columns.model_dump_json(),
            serving_root=serving_root,
            push_cache_key=push_cache_key,
            evaluation=Channel(type=ModelEvaluation),
            blessing=Channel(type=ModelBlessing),
        )
        # TFX's own makes a spec of its own class.
        BaseBeamComponent.__init__(self, spec=spec)
