"""Adam, as one operation a variable, and its step size over time."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from components.trainer.settings import TrainerSettings

_WARM_UP = 0.02  # Share of the steps in which the cosine schedule rises.


def optimizer_of(settings: TrainerSettings, steps: int) -> keras.optimizers.Optimizer:
    """Returns the optimizer of the settings, for `steps` steps an epoch."""
    rate: float | Cosine = settings.learning_rate
    if settings.schedule == "cosine":
        rate = Cosine(settings.learning_rate, settings.epochs * steps)
    return FusedAdam(rate, weight_decay=settings.weight_decay or None)


@keras.saving.register_keras_serializable("twotower")
class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam, whose arithmetic on a variable is one operation of TensorFlow.

    It is traced sooner than Keras' twenty operations, and goes through a large table of ids once a
    step instead of once in each of them. And where an id is in a batch several times, its gradients
    are summed before they are squared, which Keras does not do.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1, in the
    order of computation at the end of its section 2.
    """

    def update_step(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, learning_rate: Any
    ) -> None:
        """Takes a step along the gradient of one variable."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.convert_to_tensor(gradient),
        )


@keras.saving.register_keras_serializable("twotower")
class Cosine(keras.optimizers.schedules.LearningRateSchedule):
    """A step size that rises evenly, then falls along a cosine to 0 at the last step.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
    equation 5. Keras' CosineDecay gives the same numbers, through a branch that is traced, and
    run, for every variable.

    Args:
        highest: the step size after the rise.
        steps: how many steps there are.

    Examples:
        >>> schedule = Cosine(highest=0.01, steps=100)
        >>> [round(float(schedule(step)), 4) for step in (0, 2, 51, 100)]
        [0.0, 0.01, 0.005, 0.0]
    """

    def __init__(self, highest: float, steps: int) -> None:
        self.highest = highest
        self.steps = steps
        self.rise = max(1, int(_WARM_UP * steps))

    def __call__(self, step: Any) -> Any:
        """Returns the size of a step, the first being step 0."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        fallen = ops.maximum(step - self.rise, 0.0) / max(1, self.steps - self.rise)
        share = 0.5 + 0.5 * ops.cos(math.pi * ops.minimum(fallen, 1.0))
        return self.highest * ops.minimum(step / self.rise, share)

    def get_config(self) -> dict[str, Any]:
        return {"highest": self.highest, "steps": self.steps}
