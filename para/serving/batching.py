"""One prediction at a time, of all requests that wait: several clients share a policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from para.errors import ParaError
from para.types import ActionChunk, Observation

Predict = Callable[[Sequence[Observation]], list[ActionChunk]]


class Batcher:
    """Gathers what is asked while a prediction runs, and asks for it together afterwards.

    Args:
        predict: Plans for observations; runs in one thread of its own.
        most: Observations at once.
    """

    def __init__(self, predict: Predict, most: int):
        self._predict, self._most = predict, most
        self._waiting: asyncio.Queue[tuple[Observation, asyncio.Future[ActionChunk]]] = (
            asyncio.Queue()
        )
        self._thread = ThreadPoolExecutor(1, "predict")
        self._task: asyncio.Task[None] | None = None
        self.sizes: dict[int, int] = {}
        """Batch size -> how often."""

    def start(self) -> None:
        """Begin; needs a running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, after the prediction that runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown()

    async def ask(self, observation: Observation) -> ActionChunk:
        """The plan for an observation.

        Raises:
            ParaError: The policy refuses this observation; others in its batch are not affected.
        """
        future: asyncio.Future[ActionChunk] = asyncio.get_running_loop().create_future()
        await self._waiting.put((observation, future))
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked = [await self._waiting.get()]
            while len(asked) < self._most and not self._waiting.empty():
                asked.append(self._waiting.get_nowait())
            # who has gone away in the meantime needs no answer
            asked = [(observation, future) for observation, future in asked if not future.done()]
            if not asked:
                continue
            self.sizes[len(asked)] = self.sizes.get(len(asked), 0) + 1
            observations = [observation for observation, _ in asked]
            answers = await loop.run_in_executor(self._thread, self._answers, observations)
            for (_, future), answer in zip(asked, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _answers(self, observations: list[Observation]) -> list[ActionChunk | Exception]:
        try:
            return list(self._predict(observations))
        except ParaError as error:
            if len(observations) == 1:
                return [error]
            return [answer for one in observations for answer in self._answers([one])]
        except Exception as error:  # a bug: whoever asked says so, the server goes on
            return [error] * len(observations)
