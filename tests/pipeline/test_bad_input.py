"""Every command with every kind of file that is none: one message, exit code 2, no stack trace."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.features import MODELS
from pipeline import __main__
from tests.serving.small_models import exports, push

ROOT = Path(__file__).parents[2]
SETTINGS = """\
name: small
data: {{input: {folder}/good.csv, schema_file: {root}/schema/campaign/schema.pbtxt}}
runs: {folder}/runs
pusher: {{serving_root: {folder}/serving}}
"""
RUN = ["--config", "CONFIG"]
OUT = ["--out", "OUT"]
SOCKET = ["--grpc_socket_path=SOCKET", "--port=0", "--rest_api_port=0"]

# BAD is where the bad file goes; MODELS is a serving root with models in service.
COMMANDS = {
    "check": ["check", "BAD"],
    "check, config": ["check", "--config", "BAD"],
    "run": ["run", "--config", "BAD"],
    "run, data": ["run", *RUN, "--set", "data.input=BAD"],
    "run, schema": ["run", *RUN, "--set", "data.schema_file=BAD"],
    "tune": ["tune", "--config", "BAD"],
    "config": ["config", "--config", "BAD"],
    "runs": ["runs", "--config", "BAD"],
    "report": ["report", "1", "--config", "BAD"],
    "compare": ["compare", "1", "2", "--config", "BAD"],
    "compile": ["compile", "--target", "vertex", "--config", "BAD", "--out", "OUT.json"],
    "submit": ["submit", "--target", "vertex", "--config", "BAD"],
    "encoder": ["encoder", "--config", "BAD"],
    "schema infer": ["schema", "infer", "BAD"],
    "schema infer, config": ["schema", "infer", "GOOD", "--config", "BAD"],
    "schema accept": ["schema", "accept", "--config", "BAD"],
    "predict": ["predict", "--models", "BAD", "--text", "An ad"],
    "ask": ["ask", "--models", "BAD", "--text", "An ad"],
    "score": ["score", "--models", "BAD", "--users", "GOOD", "--ads", "GOOD", "--out", "OUT"],
    "index": ["index", "--models", "BAD", "--catalog", "GOOD"],
    "preview": ["preview", "--models", "BAD", "--users", "GOOD", "A text"],
    "console": ["console", "--models", "BAD", "--users", "GOOD"],
    "serve": ["serve", "--models=BAD", *SOCKET],
    "serve, config": ["serve", "--model_config_file=BAD", *SOCKET],
    "predict, csv": ["predict", "--models", "MODELS", "--csv", "BAD", "--out", "OUT"],
    "score, users": ["score", "--models", "MODELS", "--users", "BAD", "--ads", "GOOD", *OUT],
    "score, ads": ["score", "--models", "MODELS", "--users", "GOOD", "--ads", "BAD", *OUT],
    "index, catalog": ["index", "--models", "MODELS", "--catalog", "BAD"],
    "preview, users": ["preview", "--models", "MODELS", "--users", "BAD", "A text"],
    "console, users": ["console", "--models", "MODELS", "--users", "BAD"],
    "rollback": ["rollback", "--models", "BAD"],
    "withdraw": ["withdraw", "1", "--models", "BAD"],
}


def loop(path: Path) -> None:
    path.symlink_to(path)


KINDS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "loop of links": loop,
    "folder": lambda path: path.mkdir(),
    "empty": lambda path: path.touch(),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00a,\x1b[31mb\n\x80"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.csv").write_text(
        "att_age,att_days,text,message_id,clicked\nold,1,An ad,1,1\n"
    )
    (tmp_path / "config.yaml").write_text(SETTINGS.format(folder=tmp_path, root=ROOT))
    return tmp_path


@pytest.fixture
def twotower(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command as its entry point does; returns the exit code and what it said last."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["twotower", *arguments])
        capfd.readouterr()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        code = ended.value.code
        printed, said = capfd.readouterr()
        return (code if isinstance(code, int) else 1), said or printed

    return run


@pytest.fixture(scope="module")
def models(analyse: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A serving root with models in service."""
    return push(exports(analyse), tmp_path_factory.mktemp("models") / "root")


# As TF Serving does, `serve` waits for what will be pushed, or a config that lists models.
WAITS = {("serve", "folder"), ("serve, config", "empty")}
CASES = [(c, k) for c in COMMANDS for k in KINDS if (c, k) not in WAITS]


@pytest.mark.parametrize(("command", "kind"), CASES)
def test_a_file_that_is_none(
    folder: Path, models: Path, twotower: Callable[..., tuple[int, str]], command: str, kind: str
) -> None:
    bad = folder / "bad.csv"
    KINDS[kind](bad)
    words = {"BAD": bad, "GOOD": folder / "good.csv", "CONFIG": folder / "config.yaml"}
    words |= {"OUT": folder / "out", "MODELS": models, "SOCKET": folder / "socket"}
    arguments = []
    for argument in COMMANDS[command]:
        for word, meant in words.items():
            argument = argument.replace(word, str(meant))
        arguments.append(argument)
    before = sorted(folder.iterdir())
    code, said = twotower(*arguments)
    assert said.startswith("twotower: ") or command.startswith(("serve", "check"))
    assert str(bad) in said
    assert code == 2
    assert "Traceback" not in said
    assert all(character.isprintable() for character in said if character != "\n")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("trainer.learning_rate=.inf", "trainer.learning_rate: expected a finite number, got inf"),
        ("trainer.seed=-1", "trainer.seed: expected greater than or equal to 0, got -1"),
        ("data.input=[1]", "data.input: expected a path, got [1]"),
        ("data.input=", "data.input: expected a path, got None"),
        ("trainer.epochs=1.5", "trainer.epochs: expected a whole number, got 1.5"),
        ("cache=perhaps", "cache: expected true or false, got 'perhaps'"),
        ("trainer=3", "trainer: expected a group of settings, got 3"),
        ("model.user_layers=wide", "model.user_layers: expected a list, got 'wide'"),
        ("data.columns.label=text", "data.columns: text is named twice"),
        ("trainer={epochs: 1, epochs: 2}", "the key epochs is there twice"),
        ("data.until=2026-13-01", "'2026-13-01' is not a YAML value: month must be in 1..12"),
        (f"data.input={'[' * 9999}", "is not a YAML value: maximum recursion depth exceeded"),
        ("data.bad_rows=drop", "data.bad_rows: expected 'refuse' or 'quarantine', got 'drop'"),
    ],
)
def test_a_setting_that_cannot_be_used(
    folder: Path, twotower: Callable[..., tuple[int, str]], setting: str, said: str
) -> None:
    code, message = twotower("config", "--config", str(folder / "config.yaml"), "--set", setting)
    assert code == 2
    assert said in message
    assert "function" not in message
    assert "class" not in message


def test_a_key_that_is_there_twice(folder: Path, twotower: Callable[..., tuple[int, str]]) -> None:
    file = folder / "config.yaml"
    file.write_text(file.read_text() + "trainer: {epochs: 1}\ntrainer: {epochs: 2}\n")
    code, message = twotower("config", "--config", str(file))
    assert code == 2
    assert "the key trainer is there twice" in message
    assert "line 6, column 1" in message


def test_a_broken_schema_is_named_with_line_and_column(
    folder: Path, twotower: Callable[..., tuple[int, str]]
) -> None:
    schema = folder / "schema.pbtxt"
    schema.write_text('feature {\n  name: "att_age"\n  typo: BYTES\n}\n')
    code, message = twotower(
        "run", "--config", str(folder / "config.yaml"), "--set", f"data.schema_file={schema}"
    )
    assert code == 2
    assert message.startswith(f"twotower: {schema}, line 3, column 3: not a schema: ")


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("att_age", "expected name=value"),
        ("att_age=1,att_age=2", "att_age is there twice"),
        ('att_age="1', "a quote is not closed"),
    ],
)
def test_attributes_that_cannot_be_read(attributes: str, said: str) -> None:
    from components.errors import InputError
    from pipeline.cli.options import pairs

    with pytest.raises(InputError, match=said):
        pairs(attributes)


def test_a_value_with_a_comma_stands_in_quotes() -> None:
    from pipeline.cli.options import pairs

    given = pairs('att_city="Paris, Texas",att_who=O\'Neil, att_path=C:\\x #1')
    assert given == {"att_city": "Paris, Texas", "att_who": "O'Neil", "att_path": "C:\\x #1"}


def test_a_curated_schema_is_not_written_over(
    folder: Path, twotower: Callable[..., tuple[int, str]]
) -> None:
    schema = folder / "schema.pbtxt"
    schema.write_text("# reviewed")
    code, said = twotower("schema", "infer", str(folder / "good.csv"), "--out", str(schema))
    assert (code, schema.read_text()) == (2, "# reviewed")
    assert "give --force" in said


def test_a_home_folder_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.cli.options import path
    from pipeline.config import load_config

    monkeypatch.setenv("HOME", str(folder))
    assert path("~/x.csv") == folder / "x.csv"
    config = load_config(path("~/config.yaml"), ["data.input=~/good.csv", "runs=~/r"])
    assert config.data.input == folder / "good.csv"
    assert config.runs == folder / "r"


def test_what_stops_a_run_late_is_found_at_its_start(
    folder: Path, twotower: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ["--config", str(folder / "config.yaml")]
    (folder / "file").touch()
    for setting in ("pusher.serving_root", "runs"):
        code, said = twotower("run", *config, "--set", f"{setting}={folder}/file/x")
        assert (code, said.count("\n")) == (2, 1)
        assert f"{folder}/file" in said
    (folder / "serving").mkdir()
    (folder / "serving" / MODELS[0]).touch()
    code, said = twotower("run", *config)
    assert code == 2
    assert f"serving/{MODELS[0]}: expected a folder for the versions" in said
    (folder / "serving" / MODELS[0]).unlink()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**8}))
    code, said = twotower("run", *config)
    assert code == 2
    assert "0.1 GB are free there and a run is expected to need 1.0 GB" in said
