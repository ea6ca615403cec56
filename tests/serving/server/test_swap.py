"""A version is swapped again and again under constant load."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from typing import Any

import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_pb2

from components import features
from components.pusher.withdraw import rollback
from serving.server.model_config import read_model_config
from serving.server.models import Models
from serving.server.options import ServerOptions

MODEL = features.ITEM_TOWER
TEXT = features.Columns().text
SWAPS = 50
CLIENTS = 4


@pytest.mark.e2e
def test_fifty_swaps_without_a_failed_request_or_a_wrong_answer(
    push: Any, serve: Any, tmp_path: Any
) -> None:
    push(MODEL, 1)
    server = serve()
    done = threading.Event()
    problems: list[BaseException] = []
    answered: Counter[int] = Counter()

    def ask(client: int) -> None:
        texts = ["x" * client, "y" * (client + 1)]
        while not done.is_set():
            response = server.predict(MODEL, {TEXT: texts})
            version = response.model_spec.version.value
            embedding = tf.make_ndarray(response.outputs[features.EMBEDDING])
            assert embedding.tolist() == [[client, version], [client + 1, version]]
            answered[version] += 1

    def keep_asking(client: int) -> None:
        try:
            ask(client)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=keep_asking, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for version in range(2, SWAPS + 2):
        push(MODEL, version)
        _wait_for(server, version)
        shutil.rmtree(tmp_path / "models" / MODEL / str(version - 1))
    done.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert set(answered) >= set(range(2, SWAPS + 2))


def test_a_version_withdrawn_while_it_is_looked_for_answers_until_the_next_is_there(
    push: Any, tmp_path: Any
) -> None:
    for version in (1, 2):
        for model in features.MODELS:
            push(model, version)
    options = ServerOptions(models=tmp_path / "models")
    models = Models(options)
    models.reload(read_model_config(options))
    spec = model_pb2.ModelSpec(name=MODEL)
    rollback(tmp_path / "models")
    models.poll()
    with models.use(spec) as model:
        assert model.version == 2
    models.reload(read_model_config(options))
    with models.use(spec) as model:
        assert model.version == 1
    models.close()


def _wait_for(server: Any, version: int) -> None:
    end = time.monotonic() + 30
    while server.predict(MODEL, {TEXT: ["x"]}).model_spec.version.value != version:
        assert time.monotonic() < end
        time.sleep(0.02)
