"""A typed client of the pushed models, for TF Serving and the local server alike.

Needs gRPC, protobuf and NumPy, not TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc
import numpy as np

from components import features
from components.errors import InputError, TwotowerError
from serving import predict_api

# Values of a user attribute by user: strings, or numbers, which may be written as strings; None
# or "" where one is missing.
Attribute = Sequence[str | float | None] | np.ndarray

_SERVICE_CONFIG = {
    # Where the name of the server stands for several, they take turns.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "tensorflow.serving.PredictionService"}],
            # Nothing else may be repeated: every other code says the same again, or means that
            # the answer may still come.
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


class MixedVersionsError(TwotowerError):
    """Two answers come from models of different versions, so their numbers do not fit together."""


@dataclass(frozen=True)
class Clicks:
    """Probabilities [B] of a click, and the version of the model that says so."""

    probabilities: np.ndarray
    version: int


@dataclass(frozen=True)
class Embeddings:
    """What a tower returns for B users or ads.

    Attributes:
        embedding: [B, units], unit length.
        logit_embedding: [B, units + 2]; the inner product of a user's and an ad's is the logit.
        version: of the tower.
    """

    embedding: np.ndarray
    logit_embedding: np.ndarray
    version: int


@dataclass(frozen=True)
class Ad:
    """An ad that is recommended to a user."""

    ad_id: str
    text: str
    probability: float


@dataclass(frozen=True)
class TopAds:
    """Ads by falling probability, and the version of the model that says so."""

    ads: list[Ad]
    version: int


class Client:
    """Asks the models over gRPC; also a context manager.

    Args:
        target: address of the server, as host:port or unix:path.
        timeout: seconds a request may take, with its retries.
        batch_size: most users, ads or pairs in one request; longer input takes several.
        columns: names of the columns that the models were trained on.
        label: of the versions to ask, such as stable; the newest if unset.
        credentials: of a server that wants TLS.

    Attributes that are not given are missing. What a model takes is asked of the server once, and
    again when something does not fit.

    Every method raises InputError for what a model does not take, and grpc.RpcError with the
    server's code and message. UNAVAILABLE alone is tried again, up to four times within the
    timeout.

    Example:
        >>> with Client("localhost:8500") as client:
        ...     client.click_probability({"att_age": ["25-34"]}, ["Fresh pasta tonight"])
    """

    def __init__(
        self,
        target: str = "localhost:8500",
        *,
        timeout: float = 5.0,
        batch_size: int = 1024,
        columns: features.Columns | None = None,
        label: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        options = [
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
            ("grpc.max_receive_message_length", -1),
        ]
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        self._call = self._channel.unary_unary(
            predict_api.METHOD,
            request_serializer=predict_api.PredictRequest.SerializeToString,
            response_deserializer=predict_api.PredictResponse.FromString,
        )
        self._call_metadata = self._channel.unary_unary(
            predict_api.METADATA_METHOD,
            request_serializer=predict_api.GetModelMetadataRequest.SerializeToString,
            response_deserializer=predict_api.GetModelMetadataResponse.FromString,
        )
        self._inputs: dict[str, dict[str, np.dtype]] = {}  # by model
        self._timeout = timeout
        self._batch_size = batch_size
        self._label = label
        self._columns = columns or features.Columns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def click_probability(
        self,
        users: Mapping[str, Attribute],
        texts: Sequence[str],
        *,
        ad_ids: Sequence[str | None] | None = None,
        version: int | None = None,
    ) -> Clicks:
        """Returns p(click) of B users, each on the ad text beside it.

        Args:
            users: B values by attribute.
            texts: B texts.
            ad_ids: B ids, for a model that was trained with them; without, the text alone counts.
            version: to ask, in place of the client's label or the newest.
        """
        given = {**users, **self._ads(texts, ad_ids)}
        answer, answered = self._ask(features.CLICK_MODEL, given, [features.PROBABILITY], version)
        return Clicks(answer[features.PROBABILITY], answered)

    def user_embedding(
        self, users: Mapping[str, Attribute], *, version: int | None = None
    ) -> Embeddings:
        """Returns the user tower's output for B users; arguments as in click_probability."""
        return self._embed(features.USER_TOWER, users, version)

    def item_embedding(
        self,
        texts: Sequence[str],
        *,
        ad_ids: Sequence[str | None] | None = None,
        version: int | None = None,
    ) -> Embeddings:
        """Returns the item tower's output for B ads; arguments as in click_probability."""
        return self._embed(features.ITEM_TOWER, self._ads(texts, ad_ids), version)

    def top_k(
        self,
        user: Mapping[str, str | float | None],
        k: int,
        *,
        allowed_ad_ids: Sequence[str] = (),
        version: int | None = None,
    ) -> TopAds:
        """Returns the k ads that one user is most likely to click.

        Args:
            user: one value by attribute.
            k: ads wanted; fewer come if there are fewer.
            allowed_ad_ids: the ads to choose from; all if empty.
            version: as in click_probability.
        """
        given: dict[str, Attribute] = {name: [value] for name, value in user.items()}
        given |= {features.K: np.array(k, np.int32), features.ALLOWED_AD_IDS: allowed_ad_ids}
        outputs = [features.AD_IDS, features.TEXTS, features.PROBABILITIES]
        answer, _ = self._predict(features.RECOMMENDER, given, 1, outputs, version)
        columns = (answer[name].tolist() for name in outputs)
        ads = [Ad(*ad) for ad in zip(*columns, strict=True)]
        return TopAds(ads, _one_version(features.RECOMMENDER, answer))

    def _ads(
        self, texts: Sequence[str], ad_ids: Sequence[str | None] | None
    ) -> dict[str, Attribute]:
        given: dict[str, Attribute] = {self._columns.text: texts}
        return given if ad_ids is None else given | {self._columns.ad_id: ad_ids}

    def _embed(self, model: str, given: Mapping[str, Attribute], version: int | None) -> Embeddings:
        outputs = [features.EMBEDDING, features.LOGIT_EMBEDDING]
        answer, answered = self._ask(model, given, outputs, version)
        return Embeddings(answer[features.EMBEDDING], answer[features.LOGIT_EMBEDDING], answered)

    def _ask(
        self,
        model: str,
        given: Mapping[str, Attribute],
        outputs: Sequence[str],
        version: int | None,
    ) -> tuple[dict[str, np.ndarray], int]:
        """Predicts in batches; the version that answers the first one answers them all."""
        rows = range(_common_size(given))
        answers = []
        for start in rows[:: self._batch_size]:
            size = len(rows[start : start + self._batch_size])
            batch = {name: values[start : start + size] for name, values in given.items()}
            answer, version = self._predict(model, batch, size, outputs, version)
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
    ) -> tuple[dict[str, np.ndarray], int]:
        spec = predict_api.ModelSpec(name=model)
        if version is not None:
            spec.version.value = version
        elif self._label is not None:
            spec.version_label = self._label
        request = predict_api.PredictRequest(
            model_spec=spec, output_filter=[*outputs, features.MODEL_VERSION]
        )
        inputs = self._inputs.get(model) or self._ask_inputs(spec)
        try:
            response = self._send(request, _fit(model, given, size, inputs))
        except (InputError, grpc.RpcError) as error:
            # Another version, with other inputs, may be the one that answers now.
            if not _misfit(error) or (fresh := self._ask_inputs(spec)) == inputs:
                raise
            response = self._send(request, _fit(model, given, size, fresh))
        answer = {name: predict_api.to_array(tensor) for name, tensor in response.outputs.items()}
        return answer, response.model_spec.version.value

    def _send(self, request: Any, inputs: Mapping[str, np.ndarray]) -> Any:
        request.ClearField("inputs")
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(predict_api.to_tensor(array))
        return self._call(request, timeout=self._timeout)

    def _ask_inputs(self, spec: Any) -> dict[str, np.dtype]:
        request = predict_api.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[predict_api.SIGNATURE_DEF]
        )
        metadata = self._call_metadata(request, timeout=self._timeout)
        inputs = predict_api.signature_inputs(metadata, features.RAW_SIGNATURE)
        self._inputs[spec.name] = inputs
        return inputs


def match(users: Embeddings, ads: Embeddings) -> np.ndarray:
    """Returns p(click) [users, ads] of every user on every ad.

    Raises:
        MixedVersionsError: the two come from towers of different versions.
    """
    if users.version != ads.version:
        raise MixedVersionsError(
            f"The users were embedded by version {users.version} of the towers, the ads by version "
            f"{ads.version}; ask for both again, with version={max(users.version, ads.version)}"
        )
    logits = users.logit_embedding @ ads.logit_embedding.T
    return np.exp(-np.logaddexp(0.0, -logits))


def _one_version(model: str, answer: Mapping[str, np.ndarray]) -> int:
    versions = np.unique(answer[features.MODEL_VERSION]).tolist()
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
