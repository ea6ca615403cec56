"""The client for asyncio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from .answers import Clicks, Embeddings, TopAds
from .channel import methods, open_channel
from .requests import Attribute, Choice, Question, Requests, T, Texts

if TYPE_CHECKING:
    from typing import Self


class AsyncClient:
    """`Client` with methods to await; also an asynchronous context manager.

    It belongs to the event loop in which it is made. Any number of its methods may be awaited at
    once; a cancelled one cancels its request.

    Args:
        target: address of the server, as host:port or unix:path.
        timeout: seconds a request may take, with its retries.
        batch_size: most users, ads or pairs in one request; longer input takes several.
        text_column: name of the ad's text in the data that the models were trained on.
        ad_id_column: name of the ad's id there.
        label: of the versions to ask, such as stable; the newest if None.
        credentials: of a server that wants TLS.

    Examples:
        ```python
        async with AsyncClient("localhost:8500") as client:
            await client.click_probability({"att_age": ["25-34"]}, ["Fresh pasta tonight"])
        ```
    """

    def __init__(
        self,
        target: str = "localhost:8500",
        *,
        timeout: float = 5.0,
        batch_size: int = 1024,
        text_column: str = "text",
        ad_id_column: str = "message_id",
        label: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._channel = open_channel(grpc.aio, target, credentials)
        self._methods = methods(self._channel)
        self._timeout = timeout
        self._requests = Requests(
            text_column=text_column, ad_id_column=ad_id_column, label=label, batch_size=batch_size
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def click_probability(
        self,
        users: Mapping[str, Attribute],
        texts: Texts,
        *,
        ad_ids: Sequence[str | None] | None = None,
        ad_attributes: Mapping[str, Attribute] = {},
        version: int | None = None,
    ) -> Clicks:
        """Does what `Client.click_probability` does."""
        return await self._ask(self._requests.clicks(users, texts, ad_ids, ad_attributes, version))

    async def user_embedding(
        self, users: Mapping[str, Attribute], *, version: int | None = None
    ) -> Embeddings:
        """Does what `Client.user_embedding` does."""
        return await self._ask(self._requests.users(users, version))

    async def item_embedding(
        self,
        texts: Texts,
        *,
        ad_ids: Sequence[str | None] | None = None,
        ad_attributes: Mapping[str, Attribute] = {},
        version: int | None = None,
    ) -> Embeddings:
        """Does what `Client.item_embedding` does."""
        return await self._ask(self._requests.items(texts, ad_ids, ad_attributes, version))

    async def top_k(
        self,
        user: Mapping[str, str | float | None],
        k: int,
        *,
        allowed_ad_ids: Sequence[str] = (),
        excluded_ad_ids: Sequence[str] = (),
        minimum_probability: float = 0.0,
        version: int | None = None,
    ) -> TopAds:
        """Does what `Client.top_k` does."""
        choice = Choice(k, allowed_ad_ids, excluded_ad_ids, minimum_probability, version)
        return await self._ask(self._requests.top(user, choice))

    async def top_k_many(
        self,
        users: Mapping[str, Attribute],
        k: int,
        *,
        allowed_ad_ids: Sequence[str] = (),
        excluded_ad_ids: Sequence[str] = (),
        minimum_probability: float = 0.0,
        version: int | None = None,
    ) -> list[TopAds]:
        """Does what `Client.top_k_many` does."""
        choice = Choice(k, allowed_ad_ids, excluded_ad_ids, minimum_probability, version)
        return await self._ask(self._requests.top_many(users, choice))

    async def _ask(self, question: Question[T]) -> T:
        try:
            call = next(question)
            while True:
                try:
                    response = await self._methods[call.method](call.request, timeout=self._timeout)
                except grpc.RpcError as error:
                    call = question.throw(error)
                else:
                    call = question.send(response)
        except StopIteration as end:
            return end.value
