"""The model's process as the server sees it: a queue in front, and a new process when one dies.

Nothing here waits for the model: `submit` returns a future, `status` and `cancel` answer at once.
A job in a lane takes the place of the ones that wait in that lane. A job that is cancelled gets a
moment to end by itself, then its process is ended. A process that dies is started again, and its
job tried once more.
"""

import multiprocessing
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

from pentimento.errors import PentimentoError
from pentimento.studio.model_process import Answer, Payload, serve

_GRACE: Final = 0.4  # seconds that a cancelled job has before its process is ended
_TRIES: Final = 2


class SupersededError(Exception):
    """A newer job took this one's place."""


class CancelledError(Exception):
    """The person cancelled the job."""


@dataclass(eq=False)
class _Job:
    number: int
    kind: str
    payload: Payload
    lane: str | None
    future: "Future[Answer]" = field(default_factory=Future)
    stage: str = "waiting"
    started: float = 0.0
    cancelled: float | None = None

    def end(self, answer: Answer | Exception) -> None:
        with suppress(InvalidStateError):  # whoever waited has gone
            if isinstance(answer, Answer):
                self.future.set_result(answer)
            else:
                self.future.set_exception(answer)


class Worker:
    """A queue of jobs and the process that does them."""

    def __init__(self, model: str | None = None) -> None:
        """Start the thread that hands out jobs; the process starts with it."""
        self._model = model
        self._spawn = multiprocessing.get_context("spawn")
        self._stop_before = self._spawn.RawValue("q", 0)
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: _Job | None = None
        self._count = 0
        self._starts = 0
        self._closed = False
        self._process: Any = None
        self._pipe: Connection | None = None
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._thread.start()

    def submit(self, kind: str, payload: Payload, lane: str | None = None) -> "Future[Answer]":
        """Queue a job.

        Args:
            kind: what to do, see `model_process`.
            payload: plain data.
            lane: jobs that wait in the same lane end with a SupersededError; one that is being
                done there ends at its next stage.
        """
        with self._changed:
            self._count += 1
            job = _Job(self._count, kind, payload, lane)
            if lane is not None:
                for old in [j for j in self._waiting if j.lane == lane]:
                    self._waiting.remove(old)
                    old.end(SupersededError())
                if self._running is not None and self._running.lane == lane:
                    self._stop_before.value = self._running.number
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def status(self) -> dict[str, Any]:
        """Return what is being done, for how long, and what waits."""
        with self._changed:
            job = self._running
            return {
                "process": None if self._process is None else self._process.pid,
                "starts": self._starts,
                "waiting": len(self._waiting),
                "job": None
                if job is None
                else {
                    "kind": job.kind,
                    "stage": job.stage,
                    "seconds": round(time.monotonic() - job.started, 2),
                },
            }

    def cancel(self) -> None:
        """End the job that is being done, and all that wait."""
        with self._changed:
            while self._waiting:
                self._waiting.popleft().end(CancelledError())
            if self._running is not None and self._running.cancelled is None:
                self._running.cancelled = time.monotonic()
                self._stop_before.value = self._running.number

    def close(self) -> None:
        """End the process and the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self.cancel()
        self._thread.join(timeout=5)
        self._end_process()

    def _work(self) -> None:
        self._start_process()  # loading takes seconds: do it while the person looks at the page
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._waiting.popleft()
                job.started = time.monotonic()
                self._running = job
            job.end(self._done(job))
            with self._changed:
                self._running = None

    def _done(self, job: _Job) -> Answer | Exception:
        """Do one job; return its answer, or why there is none."""
        for _ in range(_TRIES):
            if self._pipe is None:
                self._start_process()
            try:
                assert self._pipe is not None
                self._pipe.send((job.number, job.kind, job.payload))
                return self._listen(self._pipe, job)
            except (EOFError, OSError):
                self._end_process()
            if job.cancelled is not None:
                return CancelledError()
        return PentimentoError(
            "the model's process died twice over this picture; the document is safe. "
            "Try again with a smaller picture, or undo the last step."
        )

    def _listen(self, pipe: Connection, job: _Job) -> Answer | Exception:
        while True:
            while not pipe.poll(0.05):
                if job.cancelled is not None and time.monotonic() - job.cancelled > _GRACE:
                    self._end_process()
                    return CancelledError()
            number, event, value = pipe.recv()
            if number != job.number:
                continue
            if event == "stage":
                job.stage = value
            elif event == "stopped":
                return SupersededError() if job.cancelled is None else CancelledError()
            else:
                return value if isinstance(value, Answer) else PentimentoError(value)

    def _start_process(self) -> None:
        here, there = self._spawn.Pipe()
        process = self._spawn.Process(
            target=serve, args=(there, self._stop_before, self._model), daemon=True
        )
        process.start()
        there.close()
        with self._changed:
            self._process, self._pipe = process, here
            self._starts += 1

    def _end_process(self) -> None:
        with self._changed:
            process, pipe = self._process, self._pipe
            self._process = self._pipe = None
        if process is not None:
            process.kill()
            process.join()
        if pipe is not None:
            pipe.close()
