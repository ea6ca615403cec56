"""Both clients against a real server: the local one, through a real channel."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components import features
from tests.serving import small_models
from twotower_client import (
    Ad,
    AsyncClient,
    Client,
    Embeddings,
    InputError,
    MixedVersionsError,
    match,
    messages,
)

USERS = {"att_age": ["25-34", "", None], "att_income": [10.0, None, 7]}
TEXTS = ["pasta", "a bike", ""]
Code = grpc.StatusCode


class Waiting:
    """An AsyncClient whose methods are waited for, one at a time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = self._run(self._open(*args, **options))

    @staticmethod
    async def _open(*args: Any, **options: Any) -> AsyncClient:
        return await AsyncClient(*args, **options).__aenter__()

    def _run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **options: self._run(method(*args, **options))

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._client.__aexit__(*error))
        self._runner.close()


Connect = Callable[..., Any]


@pytest.fixture(params=[Client, Waiting], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients, of each of the two kinds; they close with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(request.param(*args, **options))


@pytest.fixture
def client(server: Any, connect: Connect) -> Any:
    return connect(server.target)


def test_click_probability(client: Any) -> None:
    clicks = client.click_probability(USERS, TEXTS)
    lengths = np.array([5, 6, 0])
    np.testing.assert_allclose(clicks.probabilities, 1 / (1 + lengths + 2), rtol=1e-6)
    assert clicks.version == 2


def test_item_embedding(client: Any) -> None:
    embeddings = client.item_embedding(TEXTS)
    np.testing.assert_array_equal(embeddings.embedding, [[5, 2], [6, 2], [0, 2]])
    np.testing.assert_array_equal(embeddings.logit_embedding, [[5, 2, 1], [6, 2, 1], [0, 2, 1]])
    assert embeddings.version == 2


def test_missing_attributes_are_empty_or_nan(client: Any) -> None:
    # The tower embeds the length of age and income, written one after the other; NaN is -1 there.
    expected = [len("25-34" + "10.000000"), len("-1.000000"), len("7.000000")]
    embeddings = client.user_embedding(USERS)
    assert embeddings.embedding[:, 0].tolist() == expected


def test_attributes_that_are_not_given_are_missing(client: Any) -> None:
    some = client.user_embedding({"att_age": ["25-34", ""]})
    whole = client.user_embedding({"att_age": ["25-34", None], "att_income": [None, np.nan]})
    np.testing.assert_array_equal(some.embedding, whole.embedding)
    assert client.click_probability({}, TEXTS).probabilities.shape == (3,)
    assert [ad.ad_id for ad in client.top_k({}, 1).ads] == ["a"]


def test_numbers_may_be_strings_and_integers(client: Any) -> None:
    written = client.user_embedding({"att_income": ["10", 7, "", 2.5]})
    floats = np.array([10.0, 7.0, np.nan, 2.5], np.float32)
    np.testing.assert_array_equal(
        written.embedding, client.user_embedding({"att_income": floats}).embedding
    )
    with pytest.raises(InputError, match=r"att_income.*'much'"):
        client.user_embedding({"att_income": ["much"]})


def test_unknown_attributes_are_refused(client: Any) -> None:
    with pytest.raises(InputError, match=r"no input att_hat .* it has att_age, att_income"):
        client.user_embedding({"att_hat": ["top"]})


def test_version_asked_for(client: Any) -> None:
    assert client.item_embedding(TEXTS, version=1).version == 1
    assert client.click_probability(USERS, TEXTS, version=1).version == 1
    with pytest.raises(grpc.RpcError) as raised:
        client.item_embedding(TEXTS, version=7)
    assert raised.value.code() == Code.NOT_FOUND


def test_label(server: Any, connect: Connect) -> None:
    client = connect(server.target, label="stable")
    assert client.item_embedding(TEXTS).version == 1
    assert client.item_embedding(TEXTS, version=2).version == 2


def test_top_k(client: Any) -> None:
    user = {"att_age": "25-34", "att_income": None}
    top = client.top_k({**user, "att_income": 3.0}, 2)
    assert [ad.ad_id for ad in top.ads] == ["a", "b"]
    assert top.ads[0] == Ad("a", "text of a", pytest.approx(0.4))
    assert top.version == 2
    allowed = client.top_k(user, 3, allowed_ad_ids=["d", "b", "z"])
    assert [ad.ad_id for ad in allowed.ads] == ["b", "d"]
    excluded = client.top_k(user, 2, excluded_ad_ids=["a", "z"])
    assert [ad.ad_id for ad in excluded.ads] == ["b", "c"]
    likely = client.top_k(user, 4, minimum_probability=0.25)
    assert [ad.ad_id for ad in likely.ads] == ["a", "b"]
    assert client.top_k(user, 4, minimum_probability=0.5).ads == []


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_top_k_of_many_users(server: Any, connect: Connect, batch_size: int) -> None:
    client = connect(server.target, batch_size=batch_size)
    ages = ["25-34", "65+", None]
    best = client.top_k_many({"att_age": ages}, 3, excluded_ad_ids=["b"])
    assert [[ad.ad_id for ad in each.ads] for each in best] == [
        ["a", "c", "d"],
        ["a"],
        ["a", "c", "d"],
    ]
    assert {each.version for each in best} == {2}


def test_ads_by_their_ids(
    serve: Callable[..., Any], analyse: Callable[..., Path], connect: Connect, tmp_path: Path
) -> None:
    small_models.push(small_models.exports(analyse, ids=True), tmp_path / "models")
    ad_ids, texts = list(small_models.CATALOGUE), list(small_models.CATALOGUE.values())
    client = connect(serve().target)
    by_text = client.click_probability({}, texts).probabilities
    by_id = client.click_probability({}, texts, ad_ids=ad_ids).probabilities
    user = client.user_embedding({"att_age": [None]})
    ads = client.item_embedding(texts, ad_ids=ad_ids)
    cold = client.item_embedding(texts, ad_ids=["never seen"] * len(texts))
    assert np.abs(by_id - by_text).min() > 1e-4
    np.testing.assert_allclose(match(user, ads)[0], by_id, atol=1e-6)
    np.testing.assert_allclose(match(user, cold)[0], by_text, atol=1e-6)


def test_a_model_without_ids_takes_none(client: Any) -> None:
    with pytest.raises(InputError, match="no input message_id in item_tower"):
        client.item_embedding(TEXTS, ad_ids=["a", "b", "c"])


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 8])
def test_batches_make_no_difference(server: Any, client: Any, connect: Connect, rows: int) -> None:
    texts = ["x" * length for length in range(rows)]
    if rows == 0:
        with pytest.raises(InputError, match="nothing"):
            client.item_embedding(texts)
        return
    batched = connect(server.target, batch_size=4)
    np.testing.assert_array_equal(
        batched.item_embedding(texts).embedding, client.item_embedding(texts).embedding
    )


def test_columns_of_different_length_are_refused(client: Any) -> None:
    with pytest.raises(InputError, match="'text': 1"):
        client.click_probability(USERS, ["one"])


def test_numbers_among_strings_are_refused(client: Any) -> None:
    with pytest.raises(InputError, match="25"):
        client.user_embedding({"att_age": ["25-34", 25]})


def test_towers_of_two_versions_are_not_matched(client: Any) -> None:
    old, new = client.user_embedding(USERS, version=1), client.item_embedding(TEXTS)
    with pytest.raises(MixedVersionsError, match=r"version 1 .* version 2"):
        match(old, new)
    same = client.item_embedding(TEXTS, version=old.version)
    logits = old.logit_embedding @ same.logit_embedding.T
    np.testing.assert_allclose(match(old, same), 1 / (1 + np.exp(-logits)), rtol=1e-6)


def test_match_of_extreme_logits_is_0_and_1() -> None:
    users = Embeddings(np.zeros((2, 1)), np.array([[1e4], [-1e4]], np.float32), 1)
    ads = Embeddings(np.zeros((1, 1)), np.array([[1.0]], np.float32), 1)
    with np.errstate(over="raise"):
        assert match(users, ads).tolist() == [[1.0], [0.0]]


class _Scripted(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with the given codes in turn, then with one version after the other."""

    def __init__(self, codes: list[grpc.StatusCode], versions: list[int]) -> None:
        self.codes = codes
        self.versions = versions
        self.wait: Callable[[], Any] = lambda: None
        self.cancelled = threading.Event()
        self.requests: list[predict_pb2.PredictRequest] = []
        self.inputs = [[features.Columns().text]]
        self.metadata_requests = 0

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.metadata_requests += 1
        signatures = get_model_metadata_pb2.SignatureDefMap()
        signature = signatures.signature_def[features.RAW_SIGNATURE]
        for name in self.inputs.pop(0) if len(self.inputs) > 1 else self.inputs[0]:
            signature.inputs[name].dtype = types_pb2.DT_STRING
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        context.add_callback(self.cancelled.set)
        self.wait()
        if self.codes:
            context.abort(self.codes.pop(0), "scripted")
        version = self.versions.pop(0)
        response = predict_pb2.PredictResponse()
        response.model_spec.version.value = version
        response.outputs[features.MODEL_VERSION].CopyFrom(_tensor(np.array([version])))
        for name in (features.EMBEDDING, features.LOGIT_EMBEDDING):
            response.outputs[name].CopyFrom(_tensor(np.zeros((1, 2), np.float32)))
        return response


def _tensor(array: np.ndarray) -> Any:
    return predict_pb2.PredictResponse.OutputsEntry.FromString(
        messages.PredictResponse.OutputsEntry(value=messages.to_tensor(array)).SerializeToString()
    ).value


@pytest.fixture
def serve_script() -> Iterator[Callable[..., str]]:
    """Starts servers that answer as scripted, and returns their addresses."""
    servers = []

    def start(scripted: _Scripted, workers: int = 1) -> str:
        server = grpc.server(ThreadPoolExecutor(workers))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(scripted, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0)


@pytest.fixture
def script(
    serve_script: Callable[..., str], connect: Connect
) -> Callable[..., tuple[_Scripted, Any]]:
    def start(
        codes: list[grpc.StatusCode], versions: list[int], timeout: float = 5
    ) -> tuple[_Scripted, Any]:
        scripted = _Scripted(codes, versions)
        return scripted, connect(serve_script(scripted), batch_size=1, timeout=timeout)

    return start


def test_unavailable_is_tried_again(script: Any) -> None:
    scripted, client = script([Code.UNAVAILABLE, Code.UNAVAILABLE], [1])
    assert client.item_embedding(["one"]).version == 1
    assert len(scripted.requests) == 3


@pytest.mark.parametrize(
    "code",
    [
        Code.NOT_FOUND,
        Code.INVALID_ARGUMENT,
        Code.FAILED_PRECONDITION,
        Code.RESOURCE_EXHAUSTED,
        Code.INTERNAL,
    ],
)
def test_nothing_else_is_tried_again(script: Any, code: grpc.StatusCode) -> None:
    scripted, client = script([code], [1])
    with pytest.raises(grpc.RpcError) as raised:
        client.item_embedding(["one"])
    assert raised.value.code() == code
    assert len(scripted.requests) == 1


def test_the_version_of_the_first_batch_is_asked_for_in_the_next(script: Any) -> None:
    scripted, client = script([], [3, 3, 3])
    client.item_embedding(["one", "two", "three"])
    asked = [request.model_spec.version.value for request in scripted.requests]
    assert asked == [0, 3, 3]
    assert not scripted.requests[0].model_spec.HasField("version")


def test_what_a_model_takes_is_asked_once(script: Any) -> None:
    scripted, client = script([], [3, 3, 4])
    client.item_embedding(["one", "two"])
    client.item_embedding(["three"])
    assert scripted.metadata_requests == 1


def test_a_model_that_takes_less_now_is_asked_again(script: Any) -> None:
    scripted, client = script([Code.INVALID_ARGUMENT], [4])
    scripted.inputs = [["att_age", "att_old"], ["att_age"]]
    assert client.user_embedding({"att_age": ["25-34"]}).version == 4
    assert [sorted(request.inputs) for request in scripted.requests] == [
        ["att_age", "att_old"],
        ["att_age"],
    ]


def test_a_model_that_takes_more_now_is_given_it(script: Any) -> None:
    scripted, client = script([], [4])
    scripted.inputs = [["att_age"], ["att_age", "att_new"]]
    assert client.user_embedding({"att_new": ["x"]}).version == 4
    assert sorted(scripted.requests[0].inputs) == ["att_age", "att_new"]


def test_a_model_that_mixes_versions_is_refused(script: Any) -> None:
    _, client = script([], [3, 4])
    with pytest.raises(MixedVersionsError, match=r"item_tower.*\[3, 4\]"):
        client.item_embedding(["one", "two"])


def test_deadline(script: Any) -> None:
    scripted, client = script([], [1], timeout=0.2)
    scripted.wait = scripted.cancelled.wait
    with pytest.raises(grpc.RpcError) as raised:
        client.item_embedding(["one"])
    assert raised.value.code() == Code.DEADLINE_EXCEEDED
    assert len(scripted.requests) == 1


def test_no_server(connect: Connect) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        connect("127.0.0.1:1", timeout=2).item_embedding(["x"])
    assert raised.value.code() == Code.UNAVAILABLE


def _methods(kind: type) -> dict[str, inspect.Signature]:
    public = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
    return {name: inspect.signature(value) for name, value in public.items()}


def test_the_two_clients_have_the_same_methods() -> None:
    assert _methods(AsyncClient) == _methods(Client)
    assert inspect.signature(AsyncClient) == inspect.signature(Client)
    assert all(
        inspect.iscoroutinefunction(getattr(AsyncClient, name)) for name in _methods(AsyncClient)
    )


def test_requests_of_one_async_client_are_on_their_way_at_once(serve_script: Any) -> None:
    scripted = _Scripted([], [1, 1])
    # Each waits until the other one has arrived.
    scripted.wait = threading.Barrier(2).wait
    target = serve_script(scripted, workers=2)

    async def ask() -> list[Embeddings]:
        async with AsyncClient(target, timeout=60) as client:
            return await asyncio.gather(*(client.item_embedding([text]) for text in "ab"))

    assert [embeddings.version for embeddings in asyncio.run(ask())] == [1, 1]


def test_cancelling_an_answer_cancels_its_request(serve_script: Any) -> None:
    scripted = _Scripted([], [1])
    arrived = threading.Event()
    scripted.wait = lambda: (arrived.set(), scripted.cancelled.wait())
    target = serve_script(scripted)

    async def ask() -> bool:
        async with AsyncClient(target, timeout=60) as client:
            answer = asyncio.create_task(client.item_embedding(["a"]))
            await asyncio.to_thread(arrived.wait)
            answer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await answer
            return await asyncio.to_thread(scripted.cancelled.wait, 30)

    assert asyncio.run(ask())
