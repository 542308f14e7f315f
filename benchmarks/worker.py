"""A contender in a process of its own, asked over its standard input in lines of JSON.

One framework a process: neither sees the other's libraries, and the memory or the crash of one is
not the other's. The processes live through the whole benchmark, so that their turns alternate
without paying for a start or a compilation each time.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Handler = Callable[..., Mapping[str, Any]]


class WorkerError(RuntimeError):
    """What the other process answered instead of a result, its last line."""


class Worker:
    """The parent's end: `tell` without waiting, `answer` to wait, `ask` for both."""

    def __init__(self, module: str, *, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def tell(self, command: str, **arguments: Any) -> None:
        if self._process.stdin is None:
            raise WorkerError("the worker has no input")
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to the oldest question that has none yet."""
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the worker ended with code {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        self.tell(command, **arguments)
        return self.answer()

    def close(self) -> None:
        """End the process: it stops when its input does."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def serve(handlers: Mapping[str, Handler]) -> None:
    """The worker's end: answer each line until the input ends. Everything else goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        question = json.loads(line)
        try:
            reply: Mapping[str, Any] = handlers[question.pop("command")](**question)
        except Exception as error:  # the parent decides what an error means
            traceback.print_exc(limit=-3)
            reply = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
