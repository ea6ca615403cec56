"""The console on a real local server, over HTTP and in a real browser."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from urllib.error import HTTPError

import pytest

from components.features import MODELS
from components.pusher.publish import publish
from serving.console.app import Console
from serving.console.pages import LONGEST, TEXTS
from serving.preview import Previewer
from serving.server.options import ServerOptions
from serving.server.server import Server
from tests.ports import free_ports
from tests.serving import small_models
from tests.serving.browser import CHROMIUM, Browser
from tests.serving.small_models import push, users, write_csv
from twotower_client import Client

pytestmark = pytest.mark.e2e

TEXT = "Fresh <i>pasta</i> & more"


@pytest.fixture(scope="module")
def root(analyse: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return push(small_models.exports(analyse), tmp_path_factory.mktemp("console") / "root")


@pytest.fixture(scope="module")
def people(root: Path) -> Path:
    return write_csv(root.parent / "users.csv", users(60))


@pytest.fixture(scope="module")
def server(root: Path, people: Path) -> Iterator[ServerOptions]:
    port, rest_api_port = free_ports(2)
    options = ServerOptions(models=root, port=port, rest_api_port=rest_api_port)
    with Server(options, Console(root, people).routes()):
        yield options


@pytest.fixture(scope="module")
def address(server: ServerOptions) -> str:
    return f"http://127.0.0.1:{server.rest_api_port}"


def get(url: str, *texts: str) -> str:
    query = urllib.parse.urlencode([("text", text) for text in texts])
    with urllib.request.urlopen(f"{url}?{query}", timeout=60) as answer:
        return str(answer.read().decode())


@pytest.fixture
def browser(tmp_path: Path, lack: Callable[..., NoReturn]) -> Iterator[Browser]:
    if CHROMIUM is None:
        lack("chromium")
    with Browser(tmp_path / "profile") as browser:
        yield browser


def test_the_page_works_without_scripts(address: str, root: Path, people: Path) -> None:
    (expected,) = Previewer.of_csv(root, people).preview([TEXT])
    for page in (get(f"{address}/console", TEXT), get(f"{address}/console/results", TEXT)):
        assert f"{expected.everyone.click_rate:.1%}" in page
        assert expected.segments[0].name in page
        assert expected.nearest[0].text in page
        assert "Fresh &lt;i&gt;pasta&lt;/i&gt; &amp; more" in page
        assert "<i>" not in page
    assert "<article" not in get(f"{address}/console")


def test_another_hosts_name_is_refused(address: str) -> None:
    for path in ("console", "console/results", "console/static/console.js"):
        request = urllib.request.Request(f"{address}/{path}", headers={"Host": "evil.example"})
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        assert refused.value.code == 400


def test_the_models_answer_beside_it(server: ServerOptions, address: str) -> None:
    with Client(f"127.0.0.1:{server.port}") as client:
        assert client.item_embedding([TEXT]).version == 1
    assert "AVAILABLE" in get(f"{address}/v1/models/click_model")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x" * (LONGEST + 1)], f"longer than {LONGEST} characters"),
        (["x"] * (TEXTS + 1), f"expected {TEXTS} at most"),
    ],
)
@pytest.mark.parametrize("path", ["/console", "/console/results"])
def test_too_much_is_refused(address: str, path: str, texts: list[str], message: str) -> None:
    with pytest.raises(HTTPError) as raised:
        get(f"{address}{path}", *texts)
    assert raised.value.code == 400
    assert message in raised.value.read().decode()


def test_the_command(root: Path, people: Path, tmp_path: Path) -> None:
    ports = dict(zip(["--rest_api_port", "--port"], free_ports(2), strict=True))
    given = ["--models", root, "--users", people, *(x for pair in ports.items() for x in pair)]
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "console", *map(str, given)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert f"http://127.0.0.1:{ports['--rest_api_port']}/console" in said
        assert "Text 1" in get(said.split()[0])
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_a_push_is_noticed(analyse: Callable[..., Path], people: Path, tmp_path: Path) -> None:
    root = push(small_models.exports(analyse), tmp_path / "root")
    console = Console(root, people)
    assert console.newest().preview([TEXT])[0].version == 1
    models = tmp_path / "other"
    shutil.copytree(small_models.exports(analyse), models)
    (models / MODELS[0] / "assets.extra" / "note").write_text("makes it another model")
    publish(models, root, keep_versions=1)
    assert console.newest().preview([TEXT])[0].version == 2


def test_typing_shows_a_preview(address: str, browser: Browser) -> None:
    browser.open(f"{address}/console")
    assert browser.evaluate("document.activeElement.name") == "text"
    browser.call("Input.insertText", text=TEXT)
    heading = "document.querySelector('article h2')?.textContent"
    assert browser.until(heading) == TEXT
    assert browser.until("document.getElementById('status').textContent") == "Previewed 1 text."

    # More is typed, into the second field: both are shown, and the address leads back to them.
    browser.evaluate("document.querySelectorAll('textarea')[1].focus()")
    browser.call("Input.insertText", text="Another one")
    browser.until("document.querySelectorAll('article').length == 2")
    shown = browser.evaluate("location.href")
    browser.open(shown)
    assert browser.evaluate("document.querySelectorAll('article').length") == 2
    assert browser.evaluate("document.querySelector('textarea').value") == TEXT
    assert all(url.startswith((address, "data:")) for url in browser.requested)


def test_what_the_server_refuses_is_said(address: str, browser: Browser) -> None:
    browser.open(f"{address}/console")
    browser.evaluate("document.querySelector('textarea').removeAttribute('maxlength')")
    browser.call("Input.insertText", text="x" * (LONGEST + 1))
    message = browser.until("document.getElementById('status').textContent")
    assert message == f"No preview: a text is longer than {LONGEST} characters"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_the_screen(address: str, browser: Browser, width: int) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=width < 1000,
    )
    browser.open(f"{address}/console?text=Pasta&text={'Unbreakable' * 9}")
    assert browser.evaluate("document.querySelectorAll('article').length") == 2
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # Nor does any table have to be scrolled sideways.
    hidden = "[...document.querySelectorAll('.scroll')].filter(s => s.scrollWidth > s.clientWidth)"
    assert browser.evaluate(f"{hidden}.length") == 0


def test_it_can_be_used_by_ear_and_by_keyboard(address: str, browser: Browser) -> None:
    browser.open(f"{address}/console?text=Pasta")
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    names: dict[str, list[str]] = {}
    for node in tree:
        if not node["ignored"]:
            role = node["role"]["value"]
            names.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert [name.split()[:2] for name in names["textbox"]] == [
        ["Text", str(number)] for number in range(1, TEXTS + 1)
    ]
    assert names["button"] == ["Preview"]
    assert names["article"] == ["Pasta"]
    assert all(names["table"])
    assert "status" in names
    assert {"main", "heading", "columnheader", "rowheader", "meter"} <= names.keys()
    assert browser.evaluate("document.documentElement.lang") == "en"
    # The button follows the last text, and Enter on it does what it says.
    browser.evaluate("[...document.querySelectorAll('textarea')].at(-1).focus()")
    for key, code in (("Tab", 9), ("Enter", 13)):
        for kind in ("rawKeyDown", "char", "keyUp"):
            text = "\r" if key == "Enter" else ""
            browser.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text,
            )
    assert browser.until("document.getElementById('status').textContent") == "Previewed 1 text."
