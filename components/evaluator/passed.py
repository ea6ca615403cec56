"""The node that ends a run whose model did not pass, before the recipe is trained once more."""

# TFX reads the annotations below when this module is imported: they may not be postponed.

from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ModelBlessing

from components.errors import NotBlessedError
from components.evaluator.verdict import refusal


@component
def Passed(blessing: InputArtifact[ModelBlessing]) -> None:
    """Passes a run on whose model the evaluator blessed.

    Args:
        blessing: of the evaluator.

    Raises:
        NotBlessedError: the model did not pass the gate.
    """
    if not blessing.get_int_custom_property("blessed"):
        raise NotBlessedError(refusal(blessing.uri))
