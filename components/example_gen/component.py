"""The pipeline's first node: CSV files in, tf.Examples in a train and an eval split out."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tfx.components import FileBasedExampleGen
from tfx.components.example_gen import driver
from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components.example_gen.executor import UNTIL, ColumnarCsvExecutor, Packed, pack, unpack
from components.example_gen.layout import WHOLE, Layout
from components.example_gen.settings import ReadingSettings, WindowSettings
from components.example_gen.spans import SpanLayout
from components.features import EVAL, TRAIN

_MOST_BUCKETS = 1_000_000


class ContentDriver(driver.FileBasedDriver):
    """TFX's driver, but that the files' content decides what may come from the cache.

    TFX goes by number, sizes and times of the files, which a file keeps that is changed in place,
    and which change where a file is only copied.
    """

    def resolve_exec_properties(self, *arguments: Any) -> dict[str, Any]:
        """Puts the fingerprint of the content, where it is known, in the place of TFX's."""
        properties: dict[str, Any] = super().resolve_exec_properties(*arguments)
        fingerprint = unpack(properties).fingerprint
        if fingerprint:
            properties[FINGERPRINT_PROPERTY_NAME] = fingerprint
        return properties


class CsvExampleGen(FileBasedExampleGen):
    """TFX's FileBasedExampleGen with another driver.

    Args:
        until: The newest span to read, "" for the newest there is; None for input without spans.
            A property by itself, so that it can be a parameter of each run.
        **arguments: Those of FileBasedExampleGen.
    """

    DRIVER_CLASS = ContentDriver

    def __init__(self, until: str | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        if until is not None:
            self.spec.exec_properties[UNTIL] = until


def csv_example_gen(
    layout: Layout, settings: ReadingSettings, fingerprint: str = "", store: str | None = None
) -> CsvExampleGen:
    """Returns the node `example_gen`.

    Args:
        layout: Where the CSV files are.
        settings: How they are read and split.
        fingerprint: Of their content, as `Layout.fingerprint` has it; "" where it is not known.
        store: Folder where what is made of a span is kept for the next run.
    """
    splits = [
        example_gen_pb2.Input.Split(name=name, pattern=pattern)
        for name, pattern in layout.patterns.items()
    ]
    output_config = example_gen_pb2.Output()
    if WHOLE in layout.patterns:
        # TFX asks for shares; the executor has them from the settings.
        share = Fraction(settings.eval_share).limit_denominator(_MOST_BUCKETS)
        parts = {TRAIN: share.denominator - share.numerator, EVAL: share.numerator}
        for name, buckets in parts.items():
            output_config.split_config.splits.add(name=name, hash_buckets=buckets)
    return CsvExampleGen(
        until=_until(layout),
        input_base=layout.base,
        input_config=example_gen_pb2.Input(splits=splits),
        output_config=output_config,
        custom_config=pack(_packed(layout, settings.for_layout(layout), fingerprint, store)),
        custom_executor_spec=executor_spec.BeamExecutorSpec(ColumnarCsvExecutor),
    ).with_id("example_gen")


def _until(layout: Layout) -> str | None:
    if not isinstance(layout, SpanLayout):
        return None
    return "" if layout.settings.until is None else str(layout.settings.until)


def _packed(
    layout: Layout, settings: ReadingSettings, fingerprint: str, store: str | None
) -> Packed:
    packed = Packed(settings=settings, fingerprint=fingerprint)
    if not isinstance(layout, SpanLayout):
        return packed
    names = WindowSettings.model_fields
    values = {name: getattr(layout.settings, name) for name in names}
    window = WindowSettings(**{**values, "until": None})
    return packed.model_copy(update={"pattern": layout.pattern, "window": window, "store": store})
