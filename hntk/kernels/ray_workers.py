"""Workers on a Ray cluster, one on each machine, that are replaced when they die.

A worker is a Ray actor that holds a share of a computation. Results come in the order of the shares, whoever computed
them, so that sums of them are the same with and without a death.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from hntk._utils.extras import import_extra

# times in a row that one share's worker is replaced
REPLACED = 3
# seconds to wait for workers to begin before a line says so
PATIENCE = 20.0
REMEDY = "add machines, give precision='float32', keep='nowhere', which computes blocks anew for every product, or "
REMEDY += "fewer samples"

Tell = Callable[[str], None]
Engine = Literal["local", "ray"]


def import_ray() -> Any:
    """Import Ray.

    Raises
    ------
    ImportError
        If it is not installed; the message names the extra.
    """
    return import_extra("ray", "ray", "engine='ray'")


def machines(tell: Tell) -> list[str]:
    """Return the ids of all machines with a processor; Ray is started on this one where it is not connected.

    Raises
    ------
    RuntimeError
        If no machine of the cluster has a processor.
    """
    ray = import_ray()
    if not ray.is_initialized():
        tell("Ray is started on this machine: call ray.init(address=...) before to take a cluster")
        ray.init(include_dashboard=False, log_to_driver=False)
    found = sorted(
        node["NodeID"] for node in ray.nodes() if node["Alive"] and node.get("Resources", {}).get("CPU", 0) >= 1
    )
    if not found:
        raise RuntimeError("no machine of the Ray cluster has a processor: start one with ray start --num-cpus=....")
    return found


class Call(NamedTuple):
    """A call of a worker's method that is under way."""

    share: int
    method: str
    arguments: tuple
    actor: Any
    reference: Any


class RayWorkers:
    """Actors with one share each.

    Parameters
    ----------
    make : callable
        Returns the positional arguments of a worker's class from its share and whether it is to use smaller tiles.
    kind : type
        Class of the workers.
    shares : sequence
        What each worker is given.
    nodes : sequence of str
        Ids of the machines, at least as many as shares.
    tell : callable
        Called with lines of text about workers that died.
    """

    def __init__(
        self,
        make: Callable[[Any, bool], tuple],
        kind: type,
        shares: Sequence[Any],
        nodes: Sequence[str],
        tell: Tell,
    ) -> None:
        self.ray = import_ray()
        self.make, self.kind, self.shares, self.tell = make, self.ray.remote(kind), list(shares), tell
        self.nodes = list(nodes[: len(self.shares)])
        self.smaller = [False] * len(self.shares)
        self.replaced = 0
        self.actors = [self._start(k, 1) for k in range(len(self.shares))]
        self._wait()

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Return the results of a method of all workers, in the order of the shares."""
        return self.each(method, [arguments] * len(self.shares))

    def each(self, method: str, arguments: Sequence[tuple]) -> list[Any]:
        """Return the results of a method of all workers, each with arguments of its own.

        Raises
        ------
        MemoryError
            If a worker has too little memory, with smaller tiles too.
        RuntimeError
            If workers die again and again.
        """
        calls = [self.start(k, method, given) for k, given in enumerate(arguments)]
        return [self.result(call) for call in calls]

    def start(self, k: int, method: str, arguments: tuple) -> Call:
        """Begin a call of a worker's method."""
        actor = self.actors[k]
        return Call(k, method, arguments, actor, getattr(actor, method).remote(*arguments))

    def result(self, call: Call) -> Any:
        """Return what a call gives, by another worker where the one that was asked has died."""
        errors, k = self.ray.exceptions, call.share
        for attempt in range(REPLACED + 1):
            try:
                return self.ray.get(call.reference)
            except (MemoryError, errors.OutOfMemoryError) as error:
                if call.actor is self.actors[k]:
                    self._shrink(k, error)
            except errors.RayTaskError as error:
                raise error.cause from error
            except (errors.RayActorError, errors.ObjectLostError, errors.NodeDiedError) as error:
                if attempt == REPLACED:
                    raise RuntimeError(
                        f"worker {k + 1} of {len(self.shares)} died {attempt + 1} times, at last so: {error} Where it "
                        f"ran out of memory, {REMEDY}."
                    ) from error
                # other calls of the same worker may have had it replaced already
                if call.actor is not self.actors[k]:
                    pass
                # what the system kills for its memory looks like any other death: from the second on it may be that
                elif "low on memory" in str(error) or (attempt and not self.smaller[k]):
                    self._shrink(k, error)
                else:
                    self._replace(k, "died")
            call = self.start(k, call.method, call.arguments)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End all workers."""
        for actor in self.actors:
            with suppress(Exception):
                self.ray.kill(actor)

    def _shrink(self, k: int, error: Exception) -> None:
        """Replace a worker that ran out of memory by one with smaller tiles, once."""
        if self.smaller[k]:
            raise MemoryError(
                f"worker {k + 1} of {len(self.shares)} has too little memory, with smaller tiles too: {REMEDY}. {error}"
            ) from error
        self.smaller[k] = True
        short = isinstance(error, MemoryError) or "low on memory" in str(error)
        self._replace(k, f"{'ran out of memory' if short else 'died again'} and gets smaller tiles")

    def _replace(self, k: int, reason: str) -> None:
        """Start a worker again, where its machine is lost on that with the fewest."""
        with suppress(Exception):
            self.ray.kill(self.actors[k])
        alive = machines(self.tell)
        if self.nodes[k] not in alive:
            self.nodes[k] = min(alive, key=self.nodes.count)
            reason += ", its machine too"
        self.replaced += 1
        self.tell(f"worker {k + 1} of {len(self.shares)} {reason}: its share is computed again")
        # what the worker before had reserved may be reserved still
        self.actors[k] = self._start(k, 0)

    def _start(self, k: int, processors: int) -> Any:
        strategies = import_extra("ray.util.scheduling_strategies", "ray", "engine='ray'")

        placed = strategies.NodeAffinitySchedulingStrategy(self.nodes[k], soft=False)
        options = {"num_cpus": processors, "scheduling_strategy": placed, "max_restarts": 0}
        return self.kind.options(**options).remote(*self.make(self.shares[k], self.smaller[k]))

    def _wait(self) -> None:
        waiting = [actor.__ray_ready__.remote() for actor in self.actors]
        ready, rest = self.ray.wait(waiting, num_returns=len(waiting), timeout=PATIENCE)
        if rest:
            self.tell(f"waiting for {len(rest)} of {len(waiting)} workers: each takes a free processor of its machine")
