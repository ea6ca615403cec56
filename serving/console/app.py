"""The console: a page on the local server where a copywriter tries texts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from components.errors import InputError, TwotowerError
from components.serving_root import in_service
from serving.console import pages
from serving.preview import Preview, Previewer

PATH = "/console"

# Makes a page of texts, attributes of the ad, and previews.
Render: TypeAlias = Callable[[Sequence[str], Mapping[str, str], Sequence[Preview]], str]

# All that the page needs comes from the server itself.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}

# A page of another site must not read this one by giving its own name this machine's address.
_OWN_HOSTS = [Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])]


class Console:
    """Answers with previews by the newest models, also after a push.

    Args:
        serving_root: the folder that a run pushed to.
        users: CSV input of the users to preview for.

    Raises:
        InputError: one of them cannot be used.
    """

    def __init__(self, serving_root: Path, users: Path) -> None:
        self._root = serving_root
        self._users = users
        self._lock = threading.Lock()
        self._previewer = Previewer.of_csv(serving_root, users)

    def routes(self) -> Sequence[BaseRoute]:
        """Returns the console's pages, for the local server."""
        return [
            Route(PATH, self._page, middleware=_OWN_HOSTS),
            Route(f"{PATH}/results", self._results, middleware=_OWN_HOSTS),
            Mount(f"{PATH}/static", StaticFiles(directory=pages.STATIC), middleware=_OWN_HOSTS),
        ]

    def _page(self, request: Request) -> Response:
        return self._answer(request, pages.console)

    def _results(self, request: Request) -> Response:
        return self._answer(request, lambda _texts, _attributes, previews: pages.results(previews))

    def _answer(self, request: Request, render: Render) -> Response:
        texts = _texts(request)
        if problem := _problem(texts):
            return PlainTextResponse(problem, 400)
        try:
            previewer = self.newest()
        except TwotowerError as error:  # a push under way, or a serving root that is gone
            return PlainTextResponse(str(error), 503)
        attributes = {
            name: request.query_params.get(pages.field(name), "").strip()[: pages.LONGEST]
            for name in previewer.ad_attributes
        }
        given = {name: value for name, value in attributes.items() if value}
        try:
            previews = previewer.preview(texts, given) if texts else []
        except InputError as error:
            return PlainTextResponse(str(error), 400)
        return HTMLResponse(render(texts, attributes, previews), headers=_HEADERS)

    def newest(self) -> Previewer:
        """Returns what previews by the newest models."""
        with self._lock:
            if in_service(self._root).number != self._previewer.version:
                self._previewer = Previewer.of_csv(self._root, self._users)
            return self._previewer


def _texts(request: Request) -> list[str]:
    texts = [text.strip() for text in request.query_params.getlist("text")]
    return [text for text in texts if text]


def _problem(texts: Sequence[str]) -> str | None:
    if len(texts) > pages.TEXTS:
        return f"{len(texts)} texts; expected {pages.TEXTS} at most"
    if any(len(text) > pages.LONGEST for text in texts):
        return f"a text is longer than {pages.LONGEST} characters"
    return None
