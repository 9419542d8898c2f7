"""Tokens: random, hashed, compared in constant time, and in no message."""

import re
import secrets
from pathlib import Path

import pytest

from consumers.http import tokens as module
from consumers.http.tokens import Tokens, sha256_of
from pipeline.config import load_config
from pipeline.errors import ConfigError
from tests.replay.small import raie


def test_a_new_token_is_random_and_its_lines_make_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [raie(capsys, "token", "new", "shop", "--role", "read", "--role", "ingest") for _ in range(2)]
    first, other = (ended.out.removesuffix("\n") for ended in made)
    assert first != other and re.fullmatch(r"raie_[\w-]{43}", first)
    assert first not in made[0].err
    # All of it can be added to a file of settings.
    (tmp_path / "own.yaml").write_text(f"log:\n  url: sqlite:///log.sqlite\n{made[0].err}")
    by_file = load_config(tmp_path / "own.yaml").access
    variable = re.search(r"RAIE__ACCESS__TOKENS='(.*)'", made[0].err)
    assert variable
    assert load_config(None, (), {"RAIE__ACCESS__TOKENS": variable[1]}).access == by_file
    client = Tokens(by_file.tokens).client_of(first)
    assert client is not None
    assert (client.token, client.roles) == ("shop", {"read", "ingest"})
    assert Tokens(by_file.tokens).client_of(other) is None


@pytest.mark.parametrize(("name", "role"), [("shop", "write"), ("Shop", "read"), ("a b", "read"), ("x: y", "read")])
def test_an_unknown_role_or_a_bad_name_is_refused(name: str, role: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = raie(capsys, "token", "new", name, "--role", role)
    assert ended.code == 2 and "access.tokens" in ended.err and ended.out == ""


def test_a_token_in_place_of_its_hash_is_refused_and_not_shown() -> None:
    token = module.new_token()
    for setting in (f"access.tokens={{a: {{roles: [read], sha256: {token}}}}}", f"access.tokens={{a: {token}}}"):
        with pytest.raises(ConfigError) as caught:
            load_config(None, [setting])
        assert "access.tokens.a" in str(caught.value) and token not in str(caught.value)


def test_all_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_config(
        None, [f"access.tokens.{name}={{roles: [read], sha256: {sha256_of(name)}}}" for name in ("a", "b", "c")]
    ).access.tokens
    compared: list[str] = []
    compare = secrets.compare_digest

    def counted(one: str, other: str) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(module.secrets, "compare_digest", counted)
    for token in ("a", "c", "nothing"):
        compared.clear()
        Tokens(settings).client_of(token)
        assert compared == [sha256_of(name) for name in ("a", "b", "c")]


def test_a_configuration_that_is_shown_has_no_hash() -> None:
    access = load_config(None, [f"access.tokens.a={{roles: [read], sha256: {sha256_of('x')}}}"]).access
    assert sha256_of("x") not in repr(access)
