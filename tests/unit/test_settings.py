"""Settings: where they come from, and the one line a bad one gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from replibatch.errors import SettingsError
from replibatch.settings import load


def refusal(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load()
    return str(caught.value)


class TestSources:
    def test_an_argument_wins_over_the_environment_over_the_file(self, monkeypatch):
        Path(".env").write_text("REPLICATE_GLOBAL_MAX_CONCURRENT=7\nREPLICATE_REQUESTS_PER_MINUTE=77\nOTHER=x\n")
        assert load().global_max_concurrent == 7
        monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "8")
        assert load().global_max_concurrent == 8
        assert load(global_max_concurrent=9).global_max_concurrent == 9
        assert load(global_max_concurrent=None).requests_per_minute == 77

    def test_they_are_read_when_called_in_the_working_directory_of_that_moment(self, monkeypatch, tmp_path):
        monkeypatch.setenv("REPLIBATCH_ACCOUNT", "one")
        assert load().account == "one"
        monkeypatch.delenv("REPLIBATCH_ACCOUNT")
        there = tmp_path / "there"
        there.mkdir()
        (there / ".env").write_text("REPLIBATCH_ACCOUNT=two\n")
        monkeypatch.chdir(there)
        assert load().account == "two"

    def test_an_empty_value_is_an_unset_one(self, monkeypatch):
        before = load()
        for name in ("REPLICATE_GLOBAL_MAX_CONCURRENT", "REPLIBATCH_BUDGET_USD", "REPLICATE_API_TOKEN"):
            monkeypatch.setenv(name, "")
        assert load() == before
        assert load().replicate_api_token is None

    def test_what_was_given_explicitly_can_be_told_from_defaults(self, monkeypatch):
        monkeypatch.setenv("REPLICATE_REQUESTS_PER_MINUTE", "600")
        assert load(global_max_concurrent=60).model_fields_set == {
            "requests_per_minute",
            "global_max_concurrent",
            "state_dir",
        }

    @pytest.mark.parametrize("variable", ["REPLIBATCH_STATE_DIR", "REPLIBATCH_CATALOG"])
    def test_a_tilde_is_the_home_directory(self, monkeypatch, tmp_path, variable):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv(variable, "~/kept")
        settings = load()
        assert tmp_path / "home" / "kept" in (settings.state_dir, settings.catalog)
        assert refusal(variable, "~nobody-of-that-name/x", monkeypatch).startswith(f"{variable} is")

    def test_the_account_is_known_by_name_and_server_without_credentials(self):
        assert load().account_key == "default@api.replicate.com"
        settings = load(account="a.b", replicate_base_url="http://user:pw@localhost:8000/replicate/")
        assert settings.account_key == "a.b@localhost:8000/replicate"


class TestRefusals:
    @pytest.mark.parametrize(
        ("variable", "value", "allowed"),
        [
            ("REPLICATE_GLOBAL_MAX_CONCURRENT", "abc", "a whole number from 1 to 100000"),
            ("REPLICATE_GLOBAL_MAX_CONCURRENT", "0", "a whole number from 1 to 100000"),
            ("REPLICATE_GLOBAL_MAX_CONCURRENT", "100001", "a whole number from 1 to 100000"),
            ("REPLICATE_GLOBAL_MAX_CONCURRENT", "1.5", "a whole number from 1 to 100000"),
            ("REPLICATE_REQUESTS_PER_MINUTE", "-1", "a whole number from 1 to 1000000"),
            ("REPLIBATCH_RATE_WINDOW_SECONDS", "nan", "a number from 0.1 to 3600"),
            ("REPLIBATCH_LEASE_SECONDS", "inf", "a number from 1 to 3600"),
            ("REPLIBATCH_KEEP_DAYS", "0", "a number from 0.05 to 3650"),
            ("REPLIBATCH_KEEP_DAYS", "0.04", "a number from 0.05 to 3650"),
            ("REPLIBATCH_BUDGET_USD", "ten", "a number from 0 to 1000000000"),
            ("REPLIBATCH_PLACEHOLDER", "maybe", "true or false"),
            ("REPLICATE_BASE_URL", "api.replicate.com", "an http:// or https:// address"),
            ("REPLICATE_BASE_URL", "http://", "an http:// or https:// address"),
            (
                "REPLIBATCH_ACCOUNT",
                "a b",
                "up to 64 letters, digits, '.', '_' and '-', a letter or digit first",
            ),
        ],
    )
    def test_one_line_names_the_variable_what_was_found_and_what_is_allowed(
        self, monkeypatch, variable, value, allowed
    ):
        assert refusal(variable, value, monkeypatch) == f"{variable} is {value!r}; allowed: {allowed}"

    def test_an_argument_is_called_by_its_own_name(self):
        with pytest.raises(SettingsError) as caught:
            load(global_max_concurrent="many")
        assert str(caught.value) == "global_max_concurrent is 'many'; allowed: a whole number from 1 to 100000"

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("REPLICATE_API_TOKEN", "hush\nhush"),
            ("REPLICATE_API_TOKEN", "hush hush"),
            ("REPLICATE_API_TOKEN", "húsh"),
            ("REPLIBATCH_REDIS_URL", "http://:hush@host"),
            ("REPLIBATCH_REDIS_URL", "hush"),
        ],
    )
    def test_a_secret_is_never_repeated(self, monkeypatch, variable, value):
        said = refusal(variable, value, monkeypatch)
        assert said.startswith(f"{variable} is not usable")
        assert "; allowed: " in said
        assert "hush" not in said
        assert "húsh" not in said
        assert "\n" not in said

    def test_blanks_around_a_token_are_not_part_of_it(self, monkeypatch):
        monkeypatch.setenv("REPLICATE_API_TOKEN", " r8_x\n")
        token = load().replicate_api_token
        assert token is not None
        assert token.get_secret_value() == "r8_x"
        assert "r8_x" not in repr(load())

    @pytest.mark.parametrize(
        "url",
        [
            "redis://h",
            "rediss://:p@h:1/2",
            "unix:///a/b.sock?db=1",
            "sentinel://h:1,h:2/m",
            "redis+socket:///a",
        ],
    )
    def test_every_kind_of_redis_address_is_taken(self, url):
        address = load(redis_url=url).redis_url
        assert address is not None
        assert address.get_secret_value() == url

    def test_a_file_that_is_not_text_is_named(self):
        Path(".env").write_bytes(b"REPLIBATCH_ACCOUNT=\xff\xfe")
        with pytest.raises(SettingsError, match=r"^\.env: not UTF-8 text"):
            load()


class TestAFolderOfSomebodyElses:
    def test_its_address_never_gets_the_token_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path(".env").write_text("REPLICATE_BASE_URL=https://collector.test\n")
        assert load().replicate_base_url == "https://collector.test"  # there is no token to be sent
        monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_mine")
        with pytest.raises(SettingsError, match=r"REPLICATE_BASE_URL is 'https://collector.test' in .*\.env") as told:
            load()
        assert "r8_mine" not in str(told.value)
        monkeypatch.setenv("REPLICATE_BASE_URL", "https://mine.test")
        assert load().replicate_base_url == "https://mine.test"

    def test_a_token_of_a_call_is_not_sent_there_either(self) -> None:
        Path(".env").write_text("replicate_base_url=https://collector.test\n")
        with pytest.raises(SettingsError, match="collector"):
            load(replicate_api_token="r8_mine")

    def test_nothing_in_it_is_interpolated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "of-another-program")
        Path(".env").write_text("REPLIBATCH_STORAGE_URL=s3://theirs/${SECRET}\n")
        assert load().storage_url == "s3://theirs/${SECRET}"
