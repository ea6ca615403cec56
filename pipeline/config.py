"""Every setting of twotower: typed, validated, documented; YAML, overridden by key=value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from components.errors import InputError
from components.features import Columns

Share = Annotated[float, Field(ge=0, lt=1)]
Units = Annotated[int, Field(ge=1)]
# YAML reads a bare off as false.
Check = Annotated[Literal["off", "warn", "stop"], BeforeValidator(lambda value: value or "off")]


class Settings(BaseModel):
    """A group of settings: a key that is not listed here is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(Settings):
    """The CSV and what its columns mean."""

    input: Path = Field(
        description="A CSV file, a folder of them, or a folder with train/ and eval/ in it."
    )
    schema_file: Path = Field(
        description="The curated schema; `twotower schema infer` drafts one from a CSV."
    )
    columns: Columns = Field(Columns(), description="Names of the columns.")
    eval_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of the rows kept for evaluation, where the input is not split."
    )
    bad_rows: Literal["refuse", "quarantine"] = Field(
        "refuse", description="Refuse input with bad rows, or set them aside in a file."
    )


class DataCheckSettings(Settings):
    """What is looked for in data that fits the schema: off, a warning, or a stop."""

    drift: Check = Field(
        "warn", description="Attributes distributed otherwise than for the model in service."
    )
    skew: Check = Field("warn", description="Attributes distributed otherwise in eval than train.")
    max_distance: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1,
        description="Most L-infinity norm between texts, Jensen-Shannon divergence between "
        "numbers; a comparator in the schema comes first.",
    )
    click_rate: Check = Field(
        "warn",
        description="Another click rate in eval than train, or than for the model in service.",
    )
    max_click_rate_change: Annotated[float, Field(ge=0)] = Field(
        0.3, description="Most change, as a share of the click rate; more than chance explains."
    )
    unseen_values: Check = Field("warn", description="Values of text attributes in eval only.")
    max_unseen_values: Share = Field(0.05, description="Most rows with one, by attribute.")
    cold_ads: Check = Field("warn", description="Texts in eval only.")
    max_cold_ads: Share = Field(0.5, description="Most rows with one.")
    leaks: Check = Field(
        "warn", description="An attribute or ad id that predicts the click almost alone."
    )
    max_auc_alone: Annotated[float, Field(ge=0.5, le=1)] = Field(
        0.95, description="Most AUC that one of them may have alone."
    )


class TextEncoderSettings(Settings):
    """The BERT that embeds the ads' texts."""

    encoder: str = Field(
        "minilm", description="minilm (installed with twotower), or a TF Hub handle or folder."
    )
    preprocessor: str | None = Field(
        None, description="TF Hub handle or folder of the encoder's preprocessor; none for minilm."
    )
    max_tokens: Annotated[int, Field(ge=8, le=512)] = Field(
        128, description="Longer texts are cut."
    )
    cache: Path = Field(
        Path("~/.cache/twotower/encoders"), description="Where compiled encoders are kept."
    )


class TransformSettings(Settings):
    """From raw columns to a one-hot user and an embedded ad."""

    buckets: Annotated[int, Field(ge=2, le=1000)] = Field(
        10, description="Quantile buckets of a numeric attribute."
    )
    max_categories: Annotated[int, Field(ge=1)] = Field(
        1000,
        description="Most values of a string attribute with a column each, most frequent first.",
    )
    ad_memo: bool = Field(True, description="Embed each distinct text once in the whole run.")
    max_ads: Annotated[int, Field(ge=1)] = Field(
        100_000, description="Most texts in the memo, most frequent first; the rest meet BERT."
    )
    max_ids: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="Most user ids, and ad ids, that a model which uses them learns."
    )


class ModelSettings(Settings):
    """The two towers."""

    user_layers: tuple[Units, ...] = Field((128,), description="Hidden layers of the user tower.")
    item_layers: tuple[Units, ...] = Field(
        (128, 64), description="Hidden layers of the item tower."
    )
    embedding: Units = Field(32, description="Units in which both towers end.")
    normalise: bool = Field(
        True, description="Give embeddings length 1, so that their product is a cosine."
    )
    centre: bool = Field(
        False, description="Subtract the mean of the training ads' text embeddings from each."
    )
    dropout: Share = Field(0.0, description="Share of the units that are dropped in training.")
    user_id: bool = Field(
        False, description="Learn an embedding and a bias of each user (data.columns.user_id)."
    )
    ad_id: bool = Field(False, description="Learn an embedding and a bias of each ad.")
    id_dropout: Share = Field(
        0.0, description="Share of the ids that are taken for unseen ones in training."
    )


class TrainerSettings(Settings):
    """How the towers are trained."""

    learning_rate: Annotated[float, Field(gt=0)] = Field(0.01, description="Adam's step size.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Step size over time; cosine falls to 0 in the last epoch."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.0, description="AdamW's decay a step, in step sizes."
    )
    label_smoothing: Share = Field(0.0, description="How far labels are moved towards 1/2.")
    calibrate: bool = Field(
        False, description="Refit scale and bias on the validation rows (Platt)."
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(1024, description="Impressions a step.")
    epochs: Annotated[int, Field(ge=1)] = Field(20, description="Most passes over the data.")
    validation_share: Share = Field(
        0.1,
        description="Share of the training rows that early stopping watches; 0 to train on all.",
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        3, description="Epochs without a better validation loss before training stops."
    )
    warm_start: bool = Field(
        False, description="Begin from the weights of the last pushed model, where shapes match."
    )
    seed: int = Field(1, description="Same seed and data give the same model.")


class Range(Settings):
    """Numbers to try a setting with; whole ones if both ends are written as such."""

    low: int | float = Field(description="Least.")
    high: int | float = Field(description="Most.")
    log: bool = Field(False, description="Try orders of magnitude alike.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("expected low < high, and 0 < low where log is true")
        return self


class TuneSettings(Settings):
    """What `twotower tune` varies."""

    space: dict[str, Range | Annotated[tuple[Any, ...], Field(min_length=2)]] = Field(
        {},
        description="By key, as in trainer.learning_rate: a list of values, or {low, high, log}.",
    )


class EvaluatorSettings(Settings):
    """What a model must reach before it is pushed, and how it is looked at."""

    min_auc: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Least AUC of clicks on the eval split."
    )
    confidence: Share = Field(
        0.95,
        description="AUC and its change are judged by the bound they exceed with this certainty; "
        "0 judges the estimates.",
    )
    min_clicks: Annotated[int, Field(ge=0)] = Field(
        30, description="Fewest clicks in the eval split that a judgement may rest on."
    )
    max_auc_drop: Annotated[float, Field(ge=0, le=1)] | None = Field(
        0.01,
        description="Most AUC that may be lost against the model in service; none to not compare.",
    )
    incomparable_baseline: Literal["fail", "pass"] = Field(
        "fail", description="What a model in service that cannot score the eval split means."
    )
    min_slice_auc: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="Least AUC (the estimate) of each slice with enough clicks; none for no floor.",
    )
    min_slice_clicks: Annotated[int, Field(ge=1)] = Field(
        100, description="Clicks, and non-clicks, from which a slice's AUC is judged."
    )
    min_calibration: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Least clicks predicted by clicks observed; none for no bound."
    )
    max_calibration: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Most clicks predicted by clicks observed; none for no bound."
    )
    max_ece: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Most expected calibration error; none for no bound."
    )
    crosses: tuple[tuple[str, ...], ...] = Field(
        (), description="Attributes to slice by together, as in [[att_device, att_os]]."
    )
    max_slices: Annotated[int, Field(ge=1)] = Field(
        100, description="Most slices of an attribute or a cross, those with most rows first."
    )
    operating_point: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="Probability from which a click is predicted, for precision and recall; "
        "none for that of the highest tenth of the rows.",
    )


class ValidatorSettings(Settings):
    """The server that the exports must run on before they are pushed."""

    rows: Annotated[int, Field(ge=2)] = Field(
        64, description="Rows of the eval split that are sent to it."
    )
    max_latency_ms: Annotated[float, Field(gt=0)] = Field(
        250.0, description="Most milliseconds for one row, the median of several requests."
    )
    max_megabytes: Annotated[float, Field(gt=0)] = Field(
        2000.0, description="Most megabytes of one model on disk."
    )
    start_seconds: Annotated[float, Field(gt=0)] = Field(
        120.0, description="How long it may take until every model answers."
    )
    image: str | None = Field(
        None,
        description="TF Serving image to serve with, in Docker; the local server if none.",
    )


class PusherSettings(Settings):
    """Where blessed models go."""

    serving_root: Path = Field(Path("serving_models"), description="TF Serving's model folder.")
    keep_versions: Annotated[int, Field(ge=1)] = Field(
        3, description="Newest versions that stay in the serving root."
    )


class BeamSettings(Settings):
    """Where Apache Beam's work runs: statistics and Transform's analysis."""

    runner: Literal["local", "flink", "spark", "dataflow"] = Field(
        "local", description="Where the work runs; local is the machine or container of the node."
    )
    workers: Annotated[int, Field(ge=1)] = Field(
        1, description="Processes of the local runner, parallelism on Flink, most VMs of Dataflow."
    )
    job_endpoint: str | None = Field(
        None, description="host:port of the Flink or Spark job server."
    )
    worker_pool: str | None = Field(
        None,
        description="host:port of the Beam worker pool beside each Flink or Spark worker; none to "
        "start deploy.image with Docker there.",
    )
    temp_location: str | None = Field(
        None, description="Folder that every worker reaches, for intermediate files."
    )
    machine_type: str | None = Field(
        None, description="Of Dataflow's VMs; none for its own choice."
    )


class ResourceSettings(Settings):
    """What the container of a node may use; none for what the target gives."""

    cpu: Annotated[float, Field(gt=0)] | None = Field(None, description="Cores.")
    memory_gb: Annotated[float, Field(gt=0)] | None = Field(None, description="Memory in GB.")


class KubeflowSettings(Settings):
    """Where Kubeflow Pipelines is, and what its containers see."""

    host: str | None = Field(None, description="URL of the Kubeflow Pipelines API.")
    namespace: str = Field("kubeflow", description="Kubernetes namespace of the runs.")
    token_file: Path | None = Field(
        None, description="File with a token for the API; none where it asks for none."
    )
    experiment: str = Field("twotower", description="Kubeflow's name for a group of runs.")
    volumes: dict[str, str] = Field(
        {}, description="Volume claims that every container mounts: their names and where."
    )


class DeploySettings(Settings):
    """The same pipeline on Kubeflow and Vertex; paths are those that the containers see."""

    image: str | None = Field(
        None, description="Image made from the Dockerfile, with a tag that changes with the code."
    )
    pipeline_root: str | None = Field(
        None, description="Object store folder for artifacts: gs://, s3:// or minio://."
    )
    input: str | None = Field(
        None, description="Folder of CSV files: mounted, or gs://; the default of a run's `data`."
    )
    is_split: bool = Field(False, description="Whether the input has train/ and eval/ in it.")
    serving_root: Path | None = Field(
        None, description="TF Serving's model folder, mounted; on Vertex /gcs/<bucket>/<folder>."
    )
    encoders: Path = Field(
        Path("/opt/twotower/encoders"), description="Where the image has compiled text encoders."
    )
    service_account: str | None = Field(None, description="The account that the nodes run as.")
    labels: dict[str, str] = Field({}, description="Labels of the run, or of its pods.")
    resources: dict[str, ResourceSettings] = Field(
        {}, description="Of single nodes, as in {trainer: {cpu: 8, memory_gb: 32}}."
    )
    project: str | None = Field(None, description="Google Cloud project, for Vertex and Dataflow.")
    location: str | None = Field(None, description="Google Cloud region, for Vertex and Dataflow.")
    kubeflow: KubeflowSettings = KubeflowSettings()


class PipelineConfig(Settings):
    """Every setting of a pipeline."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="The pipeline's name.")
    runs: Path = Field(
        Path("runs"), description="Where runs keep their artifacts, logs and records."
    )
    cache: bool = Field(
        True, description="Reuse a node's output when nothing it depends on changed."
    )
    data: DataSettings
    data_checks: DataCheckSettings = DataCheckSettings()
    text_encoder: TextEncoderSettings = TextEncoderSettings()
    transform: TransformSettings = TransformSettings()
    model: ModelSettings = ModelSettings()
    trainer: TrainerSettings = TrainerSettings()
    tune: TuneSettings = TuneSettings()
    evaluator: EvaluatorSettings = EvaluatorSettings()
    validator: ValidatorSettings = ValidatorSettings()
    pusher: PusherSettings = PusherSettings()
    beam: BeamSettings = BeamSettings()
    deploy: DeploySettings = DeploySettings()

    @model_validator(mode="after")
    def _user_id_is_named(self) -> PipelineConfig:
        if self.model.user_id and self.data.columns.user_id is None:
            raise ValueError("model.user_id needs the name of a column in data.columns.user_id")
        return self

    @property
    def folder(self) -> Path:
        """Where everything of this pipeline's runs is."""
        return self.runs / self.name


def load_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Reads settings from the YAML file `path`, with `key.sub=value` overrides on top.

    Raises:
        InputError: a file that cannot be read, or settings that are unknown or wrong, all at once.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; give the path of a YAML file of settings"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: expected a mapping of settings, as in pipeline/configs/demo.yaml"
        )
    for override in overrides:
        _apply(values, override)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(problem)}" for problem in error.errors())
        raise InputError(f"{path}: settings that cannot be used:\n{problems}") from None


def describe(config: PipelineConfig) -> Iterator[tuple[str, Any, str]]:
    """Yields (dotted key, effective value, meaning) for every setting, in the order of the YAML."""
    yield from _describe(config, "")


def require(config: PipelineConfig, purpose: str, *keys: str) -> None:
    """Checks that settings which are none by default are given.

    Raises:
        InputError: some are not; all are named, with what they mean.
    """
    missing = [
        f"  {key}: missing; {meaning}"
        for key, value, meaning in describe(config)
        if key in keys and value is None
    ]
    if missing:
        raise InputError("\n".join([f"{purpose} needs settings that are not given:", *missing]))


def _describe(settings: BaseModel, prefix: str) -> Iterator[tuple[str, Any, str]]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _describe(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override}: expected key=value, as in trainer.epochs=5")
    *groups, name = key.split(".")
    for group in groups:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            raise InputError(f"--set {override}: {group} is a value, not a group of settings")
        values = inner
    try:
        values[name] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: {text!r} is not a YAML value: {error}") from None


def _explain(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{key}: no such setting; there are: {', '.join(_siblings(problem['loc']))}"
    if problem["type"] == "missing":
        return f"{key}: missing; {_field_meaning(problem['loc'])}"
    return f"{key}: {problem['msg']}, got {problem['input']!r}"


def _group(location: Sequence[str | int]) -> type[BaseModel]:
    group: type[BaseModel] = PipelineConfig
    for part in location:
        field = group.model_fields.get(str(part))  # None where the part is a key of a mapping
        annotation = field.annotation if field else None
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                group = inner
    return group


def _siblings(location: Sequence[str | int]) -> list[str]:
    return sorted(_group(location[:-1]).model_fields)


def _field_meaning(location: Sequence[str | int]) -> str:
    field = _group(location[:-1]).model_fields[str(location[-1])]
    return field.description or f"a group with {', '.join(_siblings([*location, '']))}"
