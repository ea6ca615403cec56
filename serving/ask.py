"""Asks pushed models over gRPC, as production does, of a local server that lives for one answer."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import grpc

import twotower_client
from components.errors import InputError
from components.features import CLICK_MODEL, MODELS, Columns
from components.serving_root import in_service
from serving.server.options import ServerOptions
from serving.server.server import Server

# The first request of a model that is not warmed up takes longer than those after it.
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Answer:
    """The probability that a user clicks an ad.

    Attributes:
        probability: of a click.
        version: of the models.
        best: the running ads that the user is most likely to click, if they were asked for.
    """

    probability: float
    version: int
    best: list[twotower_client.Ad]


def ask(
    serving_root: Path,
    attributes: Mapping[str, str],
    text: str,
    best: int | None = None,
    ad_attributes: Mapping[str, str] = MappingProxyType({}),
) -> Answer:
    """Asks the models in service about one user.

    Args:
        serving_root: the folder that a run pushed to.
        attributes: of the user; those not given are missing.
        text: of the ad; a line each where it has several.
        best: how many of the running ads to recommend.
        ad_attributes: of the ad; those not given are missing.

    Raises:
        InputError: there are no such models, an attribute is not one of theirs or not of its type.
    """
    version = in_service(serving_root)
    columns = Columns.of_model(version.folder(CLICK_MODEL))
    with tempfile.TemporaryDirectory() as folder:
        # A socket that only this user can reach, and that takes no port.
        socket = f"{folder}/grpc"
        for model in MODELS:
            home = Path(folder, "models", model)
            home.mkdir(parents=True)
            (home / str(version.number)).symlink_to(version.folder(model).absolute())
        options = ServerOptions(
            models=Path(folder, "models"),
            port=0,
            rest_api_port=0,
            grpc_socket_path=socket,
            enable_model_warmup=False,
            max_num_load_retries=0,
        )
        with (
            Server(options),
            twotower_client.Client(
                f"unix:{socket}",
                timeout=_TIMEOUT,
                ad_id_column=columns.ad_id,
            ) as client,
        ):
            try:
                return _ask(client, attributes, columns.split_text(text), best, ad_attributes)
            except grpc.RpcError as error:
                raise InputError(f"{serving_root}: {error.details()}") from None
            except twotower_client.InputError as error:
                raise InputError(str(error)) from None


def _ask(
    client: twotower_client.Client,
    attributes: Mapping[str, str],
    texts: Mapping[str, str],
    best: int | None,
    ad_attributes: Mapping[str, str],
) -> Answer:
    clicks = client.click_probability(
        {name: [value] for name, value in attributes.items()},
        {name: [text] for name, text in texts.items()},
        ad_attributes={name: [value] for name, value in ad_attributes.items()},
    )
    ads = client.top_k(attributes, best).ads if best is not None else []
    return Answer(float(clicks.probabilities[0]), clicks.version, ads)
