"""The nodes of a Ray cluster: what they have, whether they may work for us, and what they do."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from para.errors import ConfigError, ParaError, one_line
from para.executors.base import Done
from para.executors.cargo import Bundle
from para.executors.remote import Answer, Errand, Station

if TYPE_CHECKING:
    from para.executors.ray import RayConfig

log = logging.getLogger(__name__)

LOOK_S = 120.0
"""Time that a node has to say what it runs [s]: its first process has to start."""

_LABEL = "ray.io/node-id"


class Nodes:
    """The nodes of the cluster that this process is connected to.

    Args:
        cfg: What a job needs.
    """

    def __init__(self, cfg: RayConfig):
        self.cfg = cfg
        self.shunned: dict[str, str] = {}
        """Why nodes get no tasks, by their id."""
        self._seen_at, self._seen = -math.inf, {}

    def alive(self) -> dict[str, dict[str, float]]:
        """What each node that lives and is not shunned has, by its id."""
        import ray

        if time.monotonic() - self._seen_at > 1:
            self._seen = {n["NodeID"]: n["Resources"] for n in ray.nodes() if n["Alive"]}
            self._seen_at = time.monotonic()
        return {node: has for node, has in self._seen.items() if node not in self.shunned}

    def needs(self, alone: bool) -> dict[str, float]:
        """What a job takes of a node, by Ray's names."""
        cfg = self.cfg
        has_gpus = any(has.get("GPU") for has in self.alive().values())
        gpus = cfg.gpus if alone and cfg.gpus is not None else float(has_gpus)
        if not alone:
            gpus = cfg.gpu_share * has_gpus
        memory = {"memory": cfg.memory_gb * 1e9} if cfg.memory_gb else {}
        return {"CPU": cfg.cores, "GPU": gpus} | memory

    def room(self) -> int:
        """Jobs that all nodes can do at a time."""
        needs = {name: much for name, much in self.needs(alone=False).items() if much}
        return sum(
            math.floor(min(has.get(name, 0) / much for name, much in needs.items()) + 1e-9)
            for has in self.alive().values()
        )

    def require_room(self) -> None:
        """Raise `ConfigError` where a job would wait for ever."""
        nodes = self.alive()
        for alone in (False, True):
            needs = {name: much for name, much in self.needs(alone).items() if much}
            if any(
                all(has.get(n, 0) >= much for n, much in needs.items()) for has in nodes.values()
            ):
                continue
            wanted = ", ".join(_amount(name, much) for name, much in needs.items())
            most = "; ".join(
                ", ".join(_amount(name, has.get(name, 0)) for name in needs)
                for has in nodes.values()
            )
            raise ConfigError(
                f"A job needs {wanted}, but no node of the cluster has that ({most or 'none'}): it "
                "would wait for ever. Ask for less with executor.cores=, executor.gpus=, "
                "executor.gpu_share= or executor.memory_gb=."
            )

    def look(self, errand: Errand) -> bool:
        """See what all nodes run; returns whether one of them does not see the driver's files.

        Raises:
            ConfigError: A node runs something else, or does not say what.
        """
        import ray

        asked = {
            node: ray.remote(look)
            .options(num_cpus=0, max_retries=0, label_selector={_LABEL: node})
            .remote(errand)
            for node, has in self.alive().items()
            if has.get("CPU")
        }
        objections, blind = [], False
        for node, ref in asked.items():
            try:
                objection, sees = ray.get(ref, timeout=LOOK_S)
                blind |= not sees
            except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
                self.shunned[node] = f"Node {node[:8]} is gone."
                continue
            except Exception as error:  # whatever Ray or an import there raises
                objection = (
                    f"Node {node[:8]} does not say what it runs ({one_line(error, 400)}). Is PARA "
                    "installed there, for the Python that its Ray runs in?"
                )
            objections += [objection] if objection else []
        if objections:
            raise ConfigError("\n".join(objections))
        return blind

    def shun(self, node: str, reason: str) -> None:
        """Give a node no more tasks."""
        if node not in self.shunned:
            self.shunned[node] = reason
            log.warning("%s It gets no more tasks; the others go on.", reason)

    @property
    def selector(self) -> dict[str, str]:
        """Ray's word for the nodes that may get tasks."""
        return {_LABEL: f"!in({','.join(self.shunned)})"} if self.shunned else {}


def _amount(name: str, much: float) -> str:
    if name == "memory":
        return f"{much / 1e9:g} GB"
    return f"{much:g} {'cores' if name == 'CPU' else 'GPUs'}"


# --- on a node -----------------------------------------------------------------------------------

_station: Station | None = None


def look(errand: Errand) -> tuple[str, bool]:
    """Why this node must not work for the driver ("": it may), and whether it sees its files."""
    return errand.objection(_name()), errand.sees_files()


def work(
    errand: Errand,
    task: Any,
    reads: Sequence[tuple[Path, Any, Sequence[Any]]] | None,
    writes: Sequence[Path],
) -> tuple[str, Answer]:
    """Do a task in this process of Ray's; returns the node's id, and what became of the task."""
    global _station
    import ray

    node = ray.get_runtime_context().get_node_id()
    if _station is None or _station.errand.name != errand.name:
        if _station is not None:
            _station.close()
        _station = Station(errand, _name())
    if _station.carries and reads is None:
        return node, Answer(Done(None), _station.where, wants_files=True)
    try:
        for path, version, (content,) in reads or ():
            if _station.lacks(path, version):
                bundles: list[Bundle] = ray.get(content)
                _station.bring(path, version, bundles)
        return node, _station.do(task, writes)
    except (ParaError, OSError) as error:
        return node, Answer(Done(None), _station.where, unfit=f"{_station.where}: {error}")
    except BaseException:
        _station = None
        raise


def _name() -> str:
    import ray

    node = ray.get_runtime_context().get_node_id()
    return f"Node {node[:8]} ({ray.util.get_node_ip_address()})"
