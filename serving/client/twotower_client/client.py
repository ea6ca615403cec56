"""The client that waits for its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import grpc

from .answers import Clicks, Embeddings, TopAds
from .channel import methods, open_channel
from .requests import Attribute, Choice, Question, Requests, T, Texts

if TYPE_CHECKING:
    from typing import Self


class Client:
    """Asks the models over gRPC; also a context manager, and safe to share among threads.

    Args:
        target: address of the server, as host:port or unix:path.
        timeout: seconds a request may take, with its retries.
        batch_size: most users, ads or pairs in one request; longer input takes several.
        text_column: name of the ad's text in the data that the models were trained on.
        ad_id_column: name of the ad's id there.
        label: of the versions to ask, such as stable; the newest if None.
        credentials: of a server that wants TLS.

    Attributes that are not given are missing. What a model takes is asked of the server once, and
    again when something does not fit.

    Every method raises InputError for what a model does not take, and grpc.RpcError with the
    server's code and message. UNAVAILABLE alone is tried again, up to four times within the
    timeout.

    Examples:
        ```python
        with Client("localhost:8500") as client:
            client.click_probability({"att_age": ["25-34"]}, ["Fresh pasta tonight"])
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
        self._channel = open_channel(grpc, target, credentials)
        self._methods = methods(self._channel)
        self._timeout = timeout
        self._requests = Requests(
            text_column=text_column, ad_id_column=ad_id_column, label=label, batch_size=batch_size
        )

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
        texts: Texts,
        *,
        ad_ids: Sequence[str | None] | None = None,
        ad_attributes: Mapping[str, Attribute] = {},
        version: int | None = None,
    ) -> Clicks:
        """Returns p(click) of B users, the first on the first text, and so on.

        Args:
            users: B values by attribute: strings, or numbers, which may be written as strings; None
                or "" where one is missing.
            texts: B texts of ads; by column where an ad has several.
            ad_ids: B ids, for a model that was trained with them; without, the rest of the ad
                counts alone.
            ad_attributes: B values by attribute of the ad, as those of users.
            version: to ask, in place of the client's label or the newest.
        """
        return self._ask(self._requests.clicks(users, texts, ad_ids, ad_attributes, version))

    def user_embedding(
        self, users: Mapping[str, Attribute], *, version: int | None = None
    ) -> Embeddings:
        """Returns the user tower's output for B users; arguments as in click_probability."""
        return self._ask(self._requests.users(users, version))

    def item_embedding(
        self,
        texts: Texts,
        *,
        ad_ids: Sequence[str | None] | None = None,
        ad_attributes: Mapping[str, Attribute] = {},
        version: int | None = None,
    ) -> Embeddings:
        """Returns the item tower's output for B ads; arguments as in click_probability."""
        return self._ask(self._requests.items(texts, ad_ids, ad_attributes, version))

    def top_k(
        self,
        user: Mapping[str, str | float | None],
        k: int,
        *,
        allowed_ad_ids: Sequence[str] = (),
        excluded_ad_ids: Sequence[str] = (),
        minimum_probability: float = 0.0,
        version: int | None = None,
    ) -> TopAds:
        """Returns the k ads that one user is most likely to click.

        Args:
            user: one value by attribute.
            k: ads wanted; fewer come if there are fewer.
            allowed_ad_ids: the ads to choose from; all if empty.
            excluded_ad_ids: ads not to choose: seen before, paused, or shown often enough.
            minimum_probability: of a click, below which an ad is not chosen.
            version: as in click_probability.
        """
        choice = Choice(k, allowed_ad_ids, excluded_ad_ids, minimum_probability, version)
        return self._ask(self._requests.top(user, choice))

    def top_k_many(
        self,
        users: Mapping[str, Attribute],
        k: int,
        *,
        allowed_ad_ids: Sequence[str] = (),
        excluded_ad_ids: Sequence[str] = (),
        minimum_probability: float = 0.0,
        version: int | None = None,
    ) -> list[TopAds]:
        """Returns, for each of B users, the k ads that the user is most likely to click.

        Args:
            users: B values by attribute.
            k: ads wanted; fewer come if there are fewer.
            allowed_ad_ids: the ads to choose from; all if empty.
            excluded_ad_ids: ads not to choose: seen before, paused, or shown often enough.
            minimum_probability: of a click, below which an ad is not chosen.
            version: as in click_probability.
        """
        choice = Choice(k, allowed_ad_ids, excluded_ad_ids, minimum_probability, version)
        return self._ask(self._requests.top_many(users, choice))

    def _ask(self, question: Question[T]) -> T:
        try:
            call = next(question)
            while True:
                try:
                    response = self._methods[call.method](call.request, timeout=self._timeout)
                except grpc.RpcError as error:
                    call = question.throw(error)
                else:
                    call = question.send(response)
        except StopIteration as end:
            return end.value
