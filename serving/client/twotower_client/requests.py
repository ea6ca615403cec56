"""What is asked of the models and made of their responses, whoever sends the requests, and how.

Each question is a generator: it yields the calls to make, is sent the response of each, and returns
the answer. `Client` and `AsyncClient` differ only in how they wait for a response.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import grpc
import numpy as np

from . import messages, names
from .answers import Ad, Clicks, Embeddings, TopAds
from .errors import InputError, MixedVersionsError

# Values of an attribute by user or ad: strings, or numbers, which may be written as strings; None
# or "" where one is missing.
Attribute: TypeAlias = "Sequence[str | float | None] | np.ndarray"

# Texts of ads; by column where an ad has several.
Texts: TypeAlias = "Sequence[str] | Mapping[str, Sequence[str]]"

T = TypeVar("T")


class Call(NamedTuple):
    """A call to make.

    Attributes:
        method: full name of a gRPC method, `/package.Service/Method`.
        request: its message.
    """

    method: str
    request: Any


Question: TypeAlias = Generator[Call, Any, T]


class Choice(NamedTuple):
    """Which ads the recommender may choose, and how many; see `Client.top_k`.

    Attributes:
        k: most ads a user.
        allowed_ad_ids: the only ones that may be chosen; all if empty.
        excluded_ad_ids: those that may not.
        minimum_probability: what an ad must reach to be chosen.
        version: of the models; the newest, or that of the label, if None.
    """

    k: int
    allowed_ad_ids: Sequence[str]
    excluded_ad_ids: Sequence[str]
    minimum_probability: float
    version: int | None

    def inputs(self) -> dict[str, Attribute]:
        """Returns the inputs of the recommender that say so."""
        return {
            names.K: np.array(self.k, np.int32),
            names.ALLOWED_AD_IDS: self.allowed_ad_ids,
            names.EXCLUDED_AD_IDS: self.excluded_ad_ids,
            names.MINIMUM_PROBABILITY: np.array(self.minimum_probability, np.float32),
        }


class Requests:
    """Asks the models, and remembers what each of them takes.

    Args:
        text_column: name of the input that holds the ad's text.
        ad_id_column: name of the input that holds the ad's id.
        label: of the versions to ask; the newest if None.
        batch_size: most users, ads or pairs in one request.
    """

    def __init__(
        self, *, text_column: str, ad_id_column: str, label: str | None, batch_size: int
    ) -> None:
        self._text_column = text_column
        self._ad_id_column = ad_id_column
        self._label = label
        self._batch_size = batch_size
        self._inputs: dict[str, dict[str, np.dtype]] = {}  # by model

    def clicks(
        self,
        users: Mapping[str, Attribute],
        texts: Texts,
        ad_ids: Sequence[str | None] | None,
        ad_attributes: Mapping[str, Attribute],
        version: int | None,
    ) -> Question[Clicks]:
        """Asks the click model; see `Client.click_probability`."""
        given = {**users, **self._ads(texts, ad_ids, ad_attributes)}
        answer, answered = yield from self._ask(
            names.CLICK_MODEL, given, [names.PROBABILITY], version
        )
        return Clicks(answer[names.PROBABILITY], answered)

    def users(self, users: Mapping[str, Attribute], version: int | None) -> Question[Embeddings]:
        """Asks the user tower; see `Client.user_embedding`."""
        return (yield from self._embed(names.USER_TOWER, users, version))

    def items(
        self,
        texts: Texts,
        ad_ids: Sequence[str | None] | None,
        ad_attributes: Mapping[str, Attribute],
        version: int | None,
    ) -> Question[Embeddings]:
        """Asks the item tower; see `Client.item_embedding`."""
        given = self._ads(texts, ad_ids, ad_attributes)
        return (yield from self._embed(names.ITEM_TOWER, given, version))

    def top(self, user: Mapping[str, str | float | None], choice: Choice) -> Question[TopAds]:
        """Asks the recommender; see `Client.top_k`."""
        (best,) = yield from self.top_many({name: [value] for name, value in user.items()}, choice)
        return best

    def top_many(self, users: Mapping[str, Attribute], choice: Choice) -> Question[list[TopAds]]:
        """Asks the recommender; see `Client.top_k_many`."""
        outputs = [names.AD_IDS, names.TEXTS, names.PROBABILITIES]
        rows = range(_common_size(users) if users else 1)
        version = choice.version
        best: list[TopAds] = []
        for start in rows[:: self._batch_size]:
            some = slice(start, start + self._batch_size)
            given = {name: values[some] for name, values in users.items()} | choice.inputs()
            answer, version = yield from self._predict(
                names.RECOMMENDER, given, len(rows[some]), outputs, version
            )
            answered = _one_version(names.RECOMMENDER, answer)
            for columns in zip(*(answer[name].tolist() for name in outputs), strict=True):
                # A user who gets fewer than others has empty places at the end.
                ads = [Ad(*ad) for ad in zip(*columns, strict=True) if ad[0]]
                best.append(TopAds(ads, answered))
        return best

    def _ads(
        self,
        texts: Texts,
        ad_ids: Sequence[str | None] | None,
        ad_attributes: Mapping[str, Attribute],
    ) -> dict[str, Attribute]:
        by_column = texts if isinstance(texts, Mapping) else {self._text_column: texts}
        ids = {} if ad_ids is None else {self._ad_id_column: ad_ids}
        return {**by_column, **ids, **ad_attributes}

    def _embed(
        self, model: str, given: Mapping[str, Attribute], version: int | None
    ) -> Question[Embeddings]:
        outputs = [names.EMBEDDING, names.LOGIT_EMBEDDING]
        answer, answered = yield from self._ask(model, given, outputs, version)
        return Embeddings(answer[names.EMBEDDING], answer[names.LOGIT_EMBEDDING], answered)

    def _ask(
        self,
        model: str,
        given: Mapping[str, Attribute],
        outputs: Sequence[str],
        version: int | None,
    ) -> Question[tuple[dict[str, np.ndarray], int]]:
        """Predicts in batches; the version that answers the first one answers them all."""
        rows = range(_common_size(given))
        answers = []
        for start in rows[:: self._batch_size]:
            size = len(rows[start : start + self._batch_size])
            batch = {name: values[start : start + size] for name, values in given.items()}
            answer, version = yield from self._predict(model, batch, size, outputs, version)
            answers.append(answer)
        whole = {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}
        return whole, _one_version(model, whole)

    def _predict(
        self,
        model: str,
        given: Mapping[str, Attribute],
        size: int,
        outputs: Sequence[str],
        version: int | None,
    ) -> Question[tuple[dict[str, np.ndarray], int]]:
        spec = messages.ModelSpec(name=model)
        if version is not None:
            spec.version.value = version
        elif self._label is not None:
            spec.version_label = self._label
        outputs = [*outputs, names.MODEL_VERSION]
        inputs = self._inputs.get(model) or (yield from self._ask_inputs(spec))
        try:
            response = yield _predict_call(spec, _fit(model, given, size, inputs), outputs)
        except (InputError, grpc.RpcError) as error:
            # Another version, with other inputs, may be the one that answers now.
            if not _misfit(error) or (fresh := (yield from self._ask_inputs(spec))) == inputs:
                raise
            response = yield _predict_call(spec, _fit(model, given, size, fresh), outputs)
        answer = {name: messages.to_array(tensor) for name, tensor in response.outputs.items()}
        return answer, response.model_spec.version.value

    def _ask_inputs(self, spec: Any) -> Question[dict[str, np.dtype]]:
        request = messages.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[messages.SIGNATURE_DEF]
        )
        metadata = yield Call(messages.METADATA_METHOD, request)
        inputs = messages.signature_inputs(metadata, names.RAW_SIGNATURE)
        self._inputs[spec.name] = inputs
        return inputs


def _predict_call(spec: Any, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Call:
    request = messages.PredictRequest(model_spec=spec, output_filter=outputs)
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(messages.to_tensor(array))
    return Call(messages.METHOD, request)


def _one_version(model: str, answer: Mapping[str, np.ndarray]) -> int:
    versions = np.unique(answer[names.MODEL_VERSION]).tolist()
    if len(versions) != 1:
        raise MixedVersionsError(f"{model}: expected one version in an answer, got {versions}")
    return int(versions[0])


def _fit(
    model: str, given: Mapping[str, Attribute], size: int, inputs: Mapping[str, np.dtype]
) -> dict[str, np.ndarray]:
    """Makes a model's inputs of what is given; of each that is not, `size` values are missing."""
    unknown = sorted(set(given) - set(inputs))
    if unknown:
        raise InputError(
            f"no input {', '.join(unknown)} in {model}; it has {', '.join(sorted(inputs))}"
        )
    return {
        name: _typed(name, given.get(name, [None] * size), dtype) for name, dtype in inputs.items()
    }


def _typed(name: str, values: Attribute, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "O":
        return _strings(name, values)
    if isinstance(values, np.ndarray) and values.dtype == dtype:
        return values
    try:
        return np.array([np.nan if value in (None, "") else value for value in values], dtype)
    except ValueError as error:
        raise InputError(f"{name}: the model expects numbers: {error}") from None


def _strings(name: str, values: Attribute) -> np.ndarray:
    strings = ["" if value is None else value for value in values]
    wrong = [value for value in strings if not isinstance(value, str)]
    if wrong:
        raise InputError(f"{name}: the model expects strings, got {wrong[0]!r}")
    return np.array(strings, dtype=object)


def _misfit(error: InputError | grpc.RpcError) -> bool:
    return isinstance(error, InputError) or error.code() == grpc.StatusCode.INVALID_ARGUMENT


def _common_size(inputs: Mapping[str, Attribute]) -> int:
    sizes = {name: len(values) for name, values in inputs.items()}
    if len(set(sizes.values())) != 1:
        raise InputError(f"Every input needs as many values as the others, got {sizes}")
    size = next(iter(sizes.values()))
    if not size:
        raise InputError("There is nothing to ask for: the inputs are empty")
    return size
