"""The commands as a whole: their help, and what becomes of mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from redis.exceptions import ConnectionError as RedisConnectionError

from replibatch.cli.app import commands
from replibatch.cli.errors import Failure, explained
from replibatch.errors import NoCredit, NoSuchWork, RequestError, ResultTimeout, SettingsError

MODEL = "qwen/qwen-image"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments)


def test_help_names_every_command_and_each_has_help_of_its_own() -> None:
    overview = invoke("--help")
    assert overview.exit_code == 0
    context = click.Context(commands)
    names = commands.list_commands(context)
    assert {"demo", "run", "submit", "watch", "results", "worker", "status", "limits", "models", "sandbox"} <= set(
        names
    )
    for name in names:
        assert f"  {name} " in overview.output
        own = invoke(name, "--help")
        assert own.exit_code == 0 and "Usage: " in own.output and own.output.count("\n") > 4


def test_short_help_is_not_cut_off() -> None:
    assert "..." not in invoke("--help").output.partition("Commands:")[2]


def test_an_unknown_command_is_a_usage_error() -> None:
    done = invoke("generate")
    assert done.exit_code == 2 and "No such command 'generate'" in done.output


def test_the_overview_imports_nothing_heavy() -> None:
    code = (
        "import sys; from replibatch.cli.app import commands\n"
        "commands.main(['--help'], prog_name='replibatch', standalone_mode=False)\n"
        "heavy = {'celery', 'redis', 'PIL', 'replicate', 'httpx', 'tornado', 'rich', 'structlog'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("a setting"), 2),
        (RequestError("a request"), 2),
        (NoSuchWork("no batch"), 2),
        (NoCredit("no credit"), 1),
        (ResultTimeout("too late"), 1),
        (PermissionError(13, "Permission denied", "/somewhere"), 1),
        (RedisConnectionError("Error 111"), 1),
    ],
)
def test_what_people_can_fix_is_a_line_and_a_code(error: Exception, code: int) -> None:
    with pytest.raises(Failure) as caught, explained():
        raise error
    assert caught.value.exit_code == code
    assert "\n" not in caught.value.message


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), explained():
        1 / 0  # noqa: B018


def test_ctrl_c_is_130() -> None:
    with pytest.raises(SystemExit) as caught, explained():
        raise KeyboardInterrupt
    assert caught.value.code == 130


def test_an_unreachable_redis_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", "redis://somebody:s3cret@127.0.0.1:1/4")
    done = invoke("status")
    assert done.exit_code == 2 and done.output.count("\n") == 1
    assert "redis://127.0.0.1:1/4" in done.output and "s3cret" not in done.output


def test_a_bad_setting_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "many")
    done = invoke("status")
    assert done.exit_code == 2
    assert done.output.startswith("replibatch: REPLICATE_GLOBAL_MAX_CONCURRENT is 'many'")


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("own.csv", "prompt,output\na,Results.jsonl\n", ["-m", MODEL], "line 2: the output 'Results.jsonl'"),
        ("out.csv", "prompt,output\na,/etc/x.png\n", ["-m", MODEL], "line 2: output is '/etc/x.png'"),
        ("two.csv", "prompt,output\na,x.png\nb,x.png\n", ["-m", MODEL], "line 3"),
        ("models.jsonl", '{"prompt": "a", "model": "x/y"}\n', [], "line 1: Model 'x/y' is not supported"),
        ("nobody.txt", "a\n", [], "line 1"),
        ("input.txt", "a\n", ["-m", MODEL, "-i", "aspect_ratio=17:1"], "aspect_ratio"),
        ("input.txt", "a\n", ["-m", MODEL, "-i", "aspect_ratio"], "key=value"),
        ("kind.pdf", "a\n", ["-m", MODEL], ".pdf"),
        ("video.csv", "prompt,output\na,x.mp4\n", ["-m", MODEL], "line 2"),
    ],
)
@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_bad_list_is_told_before_redis_is_even_asked(
    monkeypatch: pytest.MonkeyPatch, command: str, name: str, content: str, options: list[str], said: str
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_the_tests")
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", "redis://127.0.0.1:1/0")
    Path(name).write_text(content)
    done = invoke(command, name, *options, "-o", "out")
    assert done.exit_code == 2 and said in done.output, done.output
    assert all(line.startswith("replibatch: ") for line in done.output.splitlines())
    assert not Path("out").exists()


def test_every_mistake_of_a_list_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_the_tests")
    Path("list.jsonl").write_text('{"prompt": "a"}\n{"prompt": ""}\n{"prompt": "b", "model": "x/y"}\n{\n')
    done = invoke("run", "list.jsonl", "-m", MODEL, "-o", "out")
    assert [line.split(":")[1] for line in done.output.splitlines()] == [
        " list.jsonl, line 2",
        " list.jsonl, line 3",
        " list.jsonl, line 4",
    ]


def test_models_for_machines_and_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("replibatch.toml").write_text('["qwen/qwen-image"]\nprice_usd = 0.5\n')
    assert '"price_usd": 0.5' in invoke("models", "--json").output
    told = invoke("models").output
    assert "qwen/qwen-image  image, $0.5 an image" in told and "google/veo-3-fast" in told


def test_a_fault_of_no_known_kind_is_a_usage_error() -> None:
    done = invoke("sandbox", "--fault", "floods=0.1")
    assert done.exit_code == 2 and "floods" in done.output and "502-after" in done.output


def test_settings_of_the_stand_in_are_listed_and_checked() -> None:
    listed = invoke("sandbox", "--kinds").output
    assert "list_lag_seconds (default: 0.0)" in listed and "<place>-<HTTP status>-<body>" in listed
    Path("broken.json").write_text("{")
    Path("list.json").write_text("[1]")
    for options, said in (
        (["--set", "list_lag_seconds=soon"], "list_lag_seconds is 'soon'"),
        (["--set", "row_sizes=huge"], "row_sizes is 'huge'"),
        (["--set", "nonesuch=1"], "nonesuch is 1"),
        (["--settings-file", "broken.json"], "broken.json is no JSON"),
        (["--settings-file", "list.json"], "list.json is no JSON object"),
        (["--settings-file", "missing.json"], "does not exist"),
    ):
        done = invoke("sandbox", *options)
        assert done.exit_code == 2 and said in done.output, (options, done.output)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name a limit"),
        (["--max-concurrent", "0"], "1<=x<=100000"),
        (["--max-concurrent", "many"], "'many' is not a valid integer"),
        (["--per-minute", "-1"], "1<=x<=1000000"),
        (["--budget", "-0.01"], "0<=x<="),
        (["--budget", "inf"], "0<=x<="),
        (["--budget", "nan"], "'nan' is no amount"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_before_redis_is_even_asked(
    monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", "redis://127.0.0.1:1/0")
    done = invoke("limits", "set", *options)
    assert done.exit_code == 2 and said in done.output
