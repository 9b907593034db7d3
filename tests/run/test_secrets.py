"""No credential is in what a program says, by whatever way it got there."""

import argparse
import logging

import pytest

from warmstart.run import cli, secrets
from warmstart.run.errors import UserError
from warmstart.run.logs import configure_logging
from warmstart.run.secrets import found_in, redact

CANARY = "cAnArY123456"


@pytest.fixture(autouse=True)
def no_files(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    secrets._netrc.cache_clear()
    secrets._hub_token.cache_clear()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            f'GET http://cdn/file?X-Amz-Credential={CANARY}&X-Amz-Signature={CANARY} "HTTP/1.1"',
            'GET http://cdn/file?[hidden] "HTTP/1.1"',
        ),
        (f"https://me:{CANARY}@host.org/a/b.gz failed", "https://[hidden]@host.org/a/b.gz failed"),
        (f"https://{CANARY}@host.org", "https://[hidden]@host.org"),
        (f"ftp://me:{CANARY}@host/x", "ftp://[hidden]@host/x"),
        (
            f"Max retries exceeded with url: /a/b?sig={CANARY} (Caused by X)",
            "Max retries exceeded with url: /a/b?[hidden] (Caused by X)",
        ),
        (f"Authorization: Bearer {CANARY}", "Authorization: [hidden]"),
        (
            f"{{'Authorization': 'Bearer {CANARY}', 'Accept': 'x'}}",
            "{'Authorization': [hidden], 'Accept': 'x'}",
        ),
        (f"proxy-authorization: Basic {CANARY}==", "proxy-authorization: [hidden]"),
        (f"Set-Cookie: session={CANARY}", "Set-Cookie: [hidden]"),
        (f"token is Bearer {CANARY}", "token is Bearer [hidden]"),
        (f"got hf_{CANARY}abcdefgh", "got [hidden]"),
    ],
)
def test_credentials_are_taken_out_of_a_text(said, shown):
    assert redact(said) == shown
    assert CANARY not in str(UserError(said))


@pytest.mark.parametrize(
    "said",
    [
        "results/runs/it/en/1h/seed1/model.nemo: cannot be restored",
        "https://host.org/path/file.tar.gz: HTTP 404",
        "training.model.contexts ([[70, 13]]) = 5",
        "Basic knowledge, a Token and a Bearer of news",
        "key=value; seeds: [1, 2]; 5 > 3?",
        "dev WER 0.25, ssh://git@host/x is no web address?",
    ],
)
def test_what_is_no_credential_stays(said):
    assert redact(said).replace("[hidden]@", "git@") == said


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "MDC_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "apikey", "X_SECRET"],
)
def test_the_value_of_a_secret_variable_is_shown_by_its_name(monkeypatch, name):
    monkeypatch.setenv(name, CANARY)
    assert redact(f"server said: {CANARY} is wrong") == f"server said: [{name}] is wrong"
    monkeypatch.setenv(name, "a/b+c=d e")
    assert "a%2Fb" not in redact("https://host/a%2Fb%2Bc%3Dd%20e")


def test_paths_and_switches_of_the_environment_are_no_secrets(monkeypatch):
    monkeypatch.setenv("SSH_KEY", "/home/me/.ssh/key")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("PWD", "/study/folder")
    assert redact("/home/me/.ssh/key 1 /study/folder") == "/home/me/.ssh/key 1 /study/folder"


def test_passwords_of_netrc_proxies_and_the_hubs_login_are_known(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine host.org login me password netrcPass1\n")
    (tmp_path / "netrc").chmod(0o600)
    (tmp_path / "token").write_text("loginToken1\n")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxyPass1@proxy:80")
    assert redact("netrcPass1 loginToken1 proxyPass1") == "[.netrc] [HF_TOKEN] [HTTPS_PROXY]"


def test_logs_and_tracebacks_of_every_library_hold_none(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HF_TOKEN", CANARY)
    configure_logging(tmp_path / "log.txt")
    logging.getLogger("some.library").info("asked https://u:%s@h/x?sig=%s", CANARY, CANARY)
    logging.getLogger("httpx2").info("HTTP Request: GET https://h/%s", CANARY)
    try:
        raise ValueError(f"no luck with {CANARY}")
    except ValueError:
        logging.getLogger("warmstart.x").exception("failed")
    written = (tmp_path / "log.txt").read_text() + capsys.readouterr().err
    assert "no luck with [HF_TOKEN]" in written
    assert "https://[hidden]@h/x?[hidden]" in written
    assert "HTTP Request" not in written
    assert CANARY not in written


def test_a_program_says_none(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", CANARY)
    for handler in list(logging.getLogger().handlers):
        logging.getLogger().removeHandler(handler)

    def fails():
        raise UserError(f"https://h/x?token={CANARY}: HTTP 403")

    with pytest.raises(SystemExit):
        cli.run(fails)
    parser = cli.parser("x")
    parser.add_argument("--settings", type=cli.json_value)
    with pytest.raises(SystemExit):
        parser.parse_args(["--settings", f"{{https://u:{CANARY}@h"])
    said = capsys.readouterr().err
    assert "https://h/x?[hidden]: HTTP 403" in said
    assert CANARY not in said
    assert isinstance(parser, argparse.ArgumentParser)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("https://me:pass@host/x", "a user or a password in an address"),
        ("http://me@host/x", "a user or a password in an address"),
        ("https://host/x?X-Amz-Signature=abc&a=b", "a signed address"),
        ("https://host/x?se=1&sig=abc", "a signed address"),
        ("https://host/x?key=abc", "a signed address"),
        ("https://host/x#access_token=abc", "a signed address"),
        ("ghp_" + "a1B2" * 9, "a token or a key"),
        ("x glpat-abcdefghij0123456789 y", "a token or a key"),
        ("AKIAIOSFODNN7EXAMPLE", "a token or a key"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF", "a token or a key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a token or a key"),
        ("Bearer abcdefghijklmnop1234567890", "a token or a key"),
        ("https://host/x?access_token=abc", "a signed address"),
        ("hf_abcdefghijklmnopqrst", "a token of the hub"),
        ("https://host/x?id=3", None),
        ("CC BY 4.0, see https://creativecommons.org/licenses/by/4.0/", None),
        ("git@github.com:a/b", None),
        ("/data/a?b=c", None),
    ],
)
def test_what_a_configuration_may_not_hold(text, kind):
    assert found_in(text) == kind


@pytest.mark.parametrize(
    "text",
    ["ghp_" + "a1B2" * 9, "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc"],
)
def test_tokens_of_a_known_form_are_in_no_message(text):
    assert redact(f"said {text}: no") == "said [hidden]: no"


def test_a_configuration_may_not_repeat_the_environment(monkeypatch):
    monkeypatch.setenv("MDC_API_KEY", CANARY)
    assert found_in(f"x {CANARY}") == "the value of MDC_API_KEY"
