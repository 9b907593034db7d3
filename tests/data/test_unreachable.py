"""A hub or a publisher that is away is one line, with what to do."""

import json
import os
import subprocess
import sys

import pytest
from made.web import serving

import download_corpus
from warmstart.data.corpora import open_corpus
from warmstart.run.errors import UserError

NOWHERE = "http://127.0.0.1:9"  # the port `discard`: nobody listens


@pytest.fixture
def site(tmp_path):
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as made:
        yield made


def fleurs(tmp_path, endpoint: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Fetch FLEURS in a process of its own: huggingface_hub reads its endpoint at import."""
    program = [sys.executable, download_corpus.__file__, "--corpus", "fleurs", "--lang", "sv"]
    settings = json.dumps({"kind": "fleurs", "code": "sv_se"})
    program += ["--settings", settings, "--directory", str(tmp_path / "d")]
    program += ["--output", str(tmp_path / "d" / "complete.json")]
    ours = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), **environment}
    return subprocess.run(
        program, env={**os.environ, **ours}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("endpoint", "environment", "said"),
    [
        (NOWHERE, {}, f"the hub {NOWHERE}: google/fleurs@70bb2e8"),
        ("http://user:secret@127.0.0.1:9", {}, f"the hub {NOWHERE}: "),
        (NOWHERE, {"HF_HUB_OFFLINE": "1"}, "OfflineModeIsEnabled; check the network"),
    ],
)
def test_a_hub_that_is_away_is_one_line(tmp_path, endpoint, environment, said):
    done = fleurs(tmp_path, endpoint, **{"HF_HUB_OFFLINE": "0", **environment})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert "fleurs/sv: " in line
    assert said in line
    assert "or set `source` to a copy" in line


def test_what_the_hub_answers_is_told(site, tmp_path):
    page = (503, {"Content-Type": "text/html"}, b"<html>maintenance</html>")
    revision = "70bb2e84b976b7e960aa89f1c648e09c59f894dd"
    site.routes[f"/api/datasets/google/fleurs/revision/{revision}"] = page
    done = fleurs(tmp_path, site.url, HF_HUB_OFFLINE="0")
    assert "Traceback" not in done.stderr
    assert "HTTP 503; check the network" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("answer", ["nobody", 500, "no JSON"])
def test_mozillas_api_that_fails_is_one_line(site, tmp_path, monkeypatch, answer):
    monkeypatch.setenv("MDC_API_KEY", "mdc-secret")
    monkeypatch.setenv("MDC_API_URL", NOWHERE if answer == "nobody" else f"{site.url}/api")
    content = b"<html>a page</html>"
    site.routes["/api/datasets"] = (500 if answer == 500 else 200, {}, content)
    said = {"nobody": "ConnectionError", 500: "HTTP 500", "no JSON": "JSONDecodeError"}[answer]
    with pytest.raises(
        UserError,
        match=rf"commonvoice/it: Mozilla Data Collective .*the search for the data set: {said}; "
        r"check the network and MDC_API_KEY, .*or set `source` to the tarball$",
    ):
        open_corpus("commonvoice", "it", {"code": "it"}).fetch(tmp_path / "d")
    site.routes["/api/datasets/cv25it"] = (500 if answer == 500 else 200, {}, content)
    named = open_corpus("commonvoice", "it", {"code": "it", "dataset_ids": {"it": "cv25it"}})
    with pytest.raises(UserError, match=rf"the data set cv25it: {said}"):
        named.fetch(tmp_path / "d")
