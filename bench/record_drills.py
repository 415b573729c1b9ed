"""Record the incidents of `llmwatch incidents drill`: a small application, and llmock in trouble of each kind.

Run it to make the package's data anew: ``python bench/record_drills.py [CATEGORY]...``. Every call is a real
request of the openai SDK to a real server on loopback; what breaks is the server, a tool, the index, the
prompt or the model's answers. One category (`REAL`) is taken from the golden sets' recordings of a real model.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmock.scenarios import Delay, Fail, Reply, ToolCall
from llmock.testing import LLMockServer

ROOT = Path(__file__).resolve().parent.parent
PACKED = ROOT / "pytest_llmwatch" / "incidents_data" / "drills.tar.xz"
BURST = 4
"""Questions whose calls the rate limit refuses."""

PAGES = {
    "refunds": "A refund is paid within 14 days of the return.",
    "shipping": "Parcels to Norway take 9 working days.",
    "warranty": "The warranty covers a broken hinge for 24 months.",
    "bulbs": "The lamp Aurora takes an E14 bulb of at most 40 watts.",
    "opening": "The shop in Bergen opens at 10 on Saturdays.",
    "dimmer": "The lamp Fjord can be dimmed with the wall switch.",
    "gift": "Gift cards are valid for 36 months.",
    "repair": "A repair costs 25 euros plus parts.",
    "colours": "The lamp Aurora is sold in brass and in white.",
    "contact": "The workshop answers letters within 5 days.",
}
QUESTIONS = {
    "refunds": ("When is a refund paid?", "14 days"),
    "shipping": ("How long does a parcel to Norway take?", "9 working days"),
    "warranty": ("For how long does the warranty cover a broken hinge?", "24 months"),
    "bulbs": ("Which bulb does the lamp Aurora take?", "E14"),
    "opening": ("When does the shop in Bergen open on Saturdays?", "10"),
    "dimmer": ("Can the lamp Fjord be dimmed?", "wall switch"),
    "gift": ("For how long are gift cards valid?", "36 months"),
    "repair": ("What does a repair cost?", "25 euros"),
    "colours": ("In which colours is the lamp Aurora sold?", "brass"),
    "contact": ("How fast does the workshop answer letters?", "5 days"),
}

BUDGET = """\
# The budget of the drills: a limit of each kind, so that an incident could be mistaken for another.
[latency]
p95 = { fail = "250 ms", test = false }

[errors]
rate = { fail = 0.05, test = false }
rate_limited = { fail = 0.05, test = false }

[cost]
per_call_usd = 0.0001

[tokens]
input_per_call = 160

[quality]
pass_rate = 0.95
json = 0.95
groundedness = 0.60
must_mention = 0.90

[safety]
refusals = 0.10
guardrails = 0.10

[agent]
tool_error_rate = 0.10

[retrieval]
empty_rate = 0.10

[outcome]
thumbs_down_rate = 0.20
"""

APP = """
import json, os
import openai
from pytest_llmwatch import retrieval, span, tag, tool

PAGES = json.loads(open("pages.json").read())
TROUBLE = os.environ["TROUBLE"]
VERSION = "p2" if TROUBLE in ("cost_spike", "output_format", "hallucination") else "p1"
MODEL = "gpt-4.1-nano" if TROUBLE == "quality" else "gpt-4o-mini"
SYSTEM = "Answer from the page as JSON with answer and page."
LONG = " Here are examples of good answers, and of the tone of the house. " * 40
TOOLS = [{"type": "function", "function": {"name": "stock", "parameters": {
    "type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}}}]


@retrieval(top_k=1, source="handbook")
def retrieve(question, page, place):
    if TROUBLE == "retrieval_failure" and place % 5:
        return []
    return [{"id": page, "text": PAGES[page], "source": "handbook"}]


@tool
def stock(item):
    if TROUBLE == "tool_failure":
        raise TimeoutError("the stock API did not answer within 2 s")
    return {"item": item, "in_stock": 4}


@span
def answer(question, page, place):
    client = openai.OpenAI(max_retries=1)
    with tag(feature="orders" if place % 2 else "support", team="care", prompt_version=VERSION):
        found = retrieve(question, page, place)
        system = SYSTEM + (LONG if TROUBLE == "cost_spike" else "")
        messages = [{"role": "system", "content": system},
                    {"role": "user", "content": "\\n".join(p["text"] for p in found) + "\\n" + question}]
        asked = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)
        message = asked.choices[0].message
        if message.tool_calls:
            messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls or []:
            try:
                result = json.dumps(stock(**json.loads(call.function.arguments)))
            except TimeoutError as error:
                result = json.dumps({"error": str(error)})
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        done = client.chat.completions.create(model=MODEL, messages=messages)
        return done.choices[0].message.content or ""
"""

TEST = """
import json, os
import pytest
import shop

CASES = json.loads(open("questions.json").read())


@pytest.mark.parametrize("place", range(len(CASES)), ids=[c[0] for c in CASES])
def test_shop(place, llm_watch):
    page, question, must = CASES[place]
    text = shop.answer(question, page, place)
    unhappy = shop.TROUBLE == "feedback_drop" and place % 3
    llm_watch.outcome(feedback="thumbs_down" if unhappy else "thumbs_up")
    case = {"input": question, "context": [shop.PAGES[page]], "must_mention": [must]}
    llm_watch.score(text, case=case, scorers=["json", "groundedness", "must_mention", "refusal"])
"""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, and what the chain has to say of it."""

    story: str
    rules: tuple[str, ...]
    cause: str
    severity: str = "SEV2"
    faults: Callable[[], Iterator[Any]] | None = None
    text: Callable[[str, int], Reply] | None = None
    verdict: str = field(default="fail")


def said(page: str, place: int, text: str | None = None) -> Reply:
    """Return the model's answer to a question, as it should be."""
    return Reply(text=json.dumps({"answer": text or PAGES[page], "page": page}))


def invented(page: str, place: int) -> Reply:
    """Return an answer that mentions what it must and makes up the rest."""
    must = QUESTIONS[page][1]
    tale = f"{must}, since the king of Denmark founded the Zephyr factory in 1873 with 412 engineers from Lisbon"
    return said(page, place, tale) if place % 4 else said(page, place)


def beside(page: str, place: int) -> Reply:
    """Return words of the page that do not answer the question."""
    must = QUESTIONS[page][1]
    words = PAGES[page].replace(must, "").strip(" .")
    return said(page, place, words) if place % 2 else said(page, place)


def refused(page: str, place: int) -> Reply:
    """Return what a filter leaves."""
    text = "I'm sorry, but I can't help with that request."
    return Reply(text=text, finish_reason="content_filter") if place % 3 else said(page, place)


TROUBLES: dict[str, Trouble] = {
    "output_format": Trouble(
        "A new prompt of a real model asks for a friendly tone; the schema was taken out of the request.",
        ("quality.json", "quality.json_schema"), "prompt version changed"),
    "latency_spike": Trouble(
        "The upstream takes most of a second for each answer.", ("latency.p95",), "",
        faults=lambda: iter([Delay(0.4, times=None)])),
    "cost_spike": Trouble(
        "A new prompt carries forty examples.", ("tokens.input_per_call", "cost.per_call_usd"),
        "input tokens a call rose"),
    "tool_failure": Trouble(
        "The stock API times out behind the tool.", ("agent.tool_error_rate",), "the tool stock failed"),
    "hallucination": Trouble(
        "A new prompt dropped the words that hold the answer to the page.", ("quality.groundedness",),
        "prompt version changed", text=invented),
    "rate_limits": Trouble(
        "A burst at the start: the first calls and their retries meet a 429.", ("errors.rate_limited",),
        "met a 429",
        faults=lambda: iter([Fail(429, retry_after=0.01, message="rate limit reached", times=2 * BURST)])),
    "outage": Trouble(
        "The provider answers 503 to everything.", ("errors.rate",), "a server that was down",
        severity="SEV1", faults=lambda: iter([Fail(503, message="upstream connect error", times=None)])),
    "quality": Trouble(
        "A smaller model answers now, and leaves out what was asked.", ("quality.must_mention",),
        "the model changed", text=beside),
    "retrieval_failure": Trouble(
        "The index lost most of the handbook; the model invents the rest.",
        ("retrieval.empty_rate", "quality.groundedness"), "got nothing from their retrieval", text=invented),
    "guardrail_surge": Trouble(
        "The provider's filter was made stricter over night.", ("safety.guardrails", "safety.refusals"), "",
        text=refused),
    "feedback_drop": Trouble(
        "Users turn thumbs down although every score holds.", ("outcome.thumbs_down_rate",), ""),
}  # fmt: skip


REAL = {
    "output_format": (
        "extraction",
        "careless",
        "# The budget of this drill: 26 answers of a small real model, with and without the schema.\n"
        "[quality]\njson = { fail = 0.90, test = false }\njson_schema = { fail = 0.75, test = false }\n"
        "must_mention = { fail = 0.60, test = false }\n\n[errors]\nrate = { fail = 0.05, test = false }\n",
    )
}
"""Categories recorded from the real model instead of a server in trouble: set, variant, budget."""


def replies(name: str | None) -> Iterator[Any]:
    """Yield what the server does: a tool call, then the answer, for each question; faults come first."""
    trouble = TROUBLES.get(name or "")
    text = trouble.text if trouble and trouble.text else said
    if trouble and trouble.faults:
        yield from trouble.faults()
    for place, page in enumerate(QUESTIONS):
        if name == "rate_limits" and place < BURST:
            continue  # no answer comes: the call and its one retry meet a 429
        yield Reply(tool_calls=(ToolCall("stock", {"item": page}),))
        yield text(page, place)


def record(name: str | None, target: Path) -> dict[str, Any]:
    """Run the application's tests against the server in trouble ``name``; keep the run in ``target``."""
    with tempfile.TemporaryDirectory() as folder, LLMockServer() as server:
        here = Path(folder)
        (here / "shop.py").write_text(APP)
        (here / "test_shop.py").write_text(TEST)
        (here / "pages.json").write_text(json.dumps(PAGES))
        (here / "questions.json").write_text(json.dumps([[p, *q] for p, q in QUESTIONS.items()]))
        (here / "budget.toml").write_text(BUDGET)
        for step in replies(name):
            server.state.scenarios.add(step)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
                   "--llm-budget=budget.toml", "--llm-record=off", "--llm-gate=defer", "."]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "GITHUB_", "LLMWATCH_"))}
        environment |= {"OPENAI_BASE_URL": server.base_url(), "OPENAI_API_KEY": "no-key", "TROUBLE": name or ""}
        environment["PYTHONPATH"] = f"{here}:{ROOT}"
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
        report = here / "llmwatch-report"
        if not (report / "run.json").exists():
            raise SystemExit(done.stdout + done.stderr)
        return keep(report, target)


def replay(name: str, drills: Path) -> None:
    """Take a category from a golden set's recordings of the real model: its prompt, and its worse prompt."""
    golden, variant, budget = REAL[name]
    (drills / name / "budget.toml").write_text(budget)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "GITHUB_", "LLMWATCH_"))}
    for title, more in (("before", []), ("during", [f"--llm-variant={variant}"])):
        with tempfile.TemporaryDirectory() as report:
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *more,
                       f"--llm-budget={drills / name / 'budget.toml'}", "--llm-record=none", "--llm-gate=defer",
                       f"--llm-report={report}", f"golden_sets/{golden}"]  # fmt: skip
            subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
            data = keep(Path(report), drills / name / title)
    (drills / name / "drill.toml").write_text(plan(name, data))


def keep(report: Path, target: Path) -> dict[str, Any]:
    """Copy the files of a run that a drill needs, and return its run.json without the machine it ran on."""
    target.mkdir(parents=True, exist_ok=True)
    for file in ("run.json", "calls.jsonl.gz", "spans.jsonl.gz"):
        if (report / file).exists():
            shutil.copy(report / file, target / file)
    data: dict[str, Any] = json.loads((target / "run.json").read_text())
    data["environment"] = {"record": data["environment"].get("record", "off")}
    data["budget"] = "budget.toml"
    (target / "run.json").write_text(json.dumps(data, separators=(",", ":"), sort_keys=True) + "\n")
    return data


def unpack(folder: Path) -> None:
    """Unpack what was recorded before, so that one category can be recorded again."""
    if not PACKED.exists():
        return
    with tarfile.open(PACKED) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def pack(folder: Path) -> None:
    """Pack ``folder``: lines as they are, since what is compressed alone cannot be compressed together."""
    for path in folder.rglob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    with tarfile.open(PACKED, "w:xz", preset=9) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(info, file)


def plan(name: str, data: dict[str, Any]) -> str:
    """Return drill.toml: what the chain has to show."""
    trouble = TROUBLES[name]
    broken = [v["rule"] for v in data["verdicts"] if v["verdict"] == "fail"]
    missing = set(trouble.rules) - set(broken)
    if missing:
        raise SystemExit(f"{name}: {sorted(missing)} did not break; broken are {broken}")
    return "".join(
        f"{key} = {json.dumps(value)}\n"
        for key, value in (
            ("story", trouble.story), ("verdict", trouble.verdict), ("severity", trouble.severity),
            ("cause", trouble.cause), ("rules", sorted(broken)),
        )
    )  # fmt: skip


def main(names: list[str]) -> None:
    """Record the good run, and the named troubles (all by default)."""
    with tempfile.TemporaryDirectory() as name:
        unpack(Path(name))
        record_all(names, Path(name))
        pack(Path(name))


def record_all(names: list[str], drills: Path) -> None:
    """Record into ``drills``."""
    (drills / "budget.toml").write_text(BUDGET)
    if not names or "before" in names:
        good = record(None, drills / "before")
        bad = [v["rule"] for v in good["verdicts"] if v["verdict"] != "pass"]
        print("before", good["verdict"], bad)
    for name in names or TROUBLES:
        if name in REAL:
            replay(name, drills)
        elif name in TROUBLES:
            data = record(name, drills / name / "during")
            print(name, {v["rule"]: v["observed"] for v in data["verdicts"] if v["verdict"] != "pass"})
            (drills / name / "drill.toml").write_text(plan(name, data))


if __name__ == "__main__":
    main(sys.argv[1:])
