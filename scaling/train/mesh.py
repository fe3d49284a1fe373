"""Data parallelism: every device holds the whole student and trains on its share of each batch.

The devices of all processes stand in one row, the mesh axis ``data``. Parameters and optimizer are replicated, a batch
is cut along its first axis, and the compiler adds the sum of gradients; the mathematics is that of one device. A
process reads the rows of its own devices and no others.

With several processes all call the same functions in the same order. Rank 0 leads: it alone reads and writes
checkpoints and records, looks at the clock, and decides. The others learn what it decided from
:meth:`DataMesh.broadcast`.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scaling.errors import Preempted, TrainError

log = logging.getLogger("scaling")

AXIS = "data"
_MESSAGE_BYTES = 1024
_LENGTH_BYTES = 8
_GIVEN_UP = "the leading process gave the training up"

# How long a process that ends waits for the others, who may be dead.
_SHUTDOWN_S = 30


@dataclass(frozen=True)
class DataMesh:
    """The devices that train together; on one device every method gives back what it was given.

    Attributes:
        mesh: One axis over the devices of all processes; None on one device.
    """

    mesh: Mesh | None = None

    @property
    def n_devices(self) -> int:
        """Devices of all processes."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def n_processes(self) -> int:
        """Processes that train together."""
        return 1 if self.mesh is None else jax.process_count()

    @property
    def own_devices(self) -> range:
        """Where this process's devices stand in the row; they are neighbours."""
        if self.mesh is None:
            return range(1)
        own = [i for i, device in enumerate(self.mesh.devices.flat) if device.process_index == jax.process_index()]
        return range(own[0], own[-1] + 1)

    @property
    def leads(self) -> bool:
        """True for the process that decides and writes."""
        return self.n_processes == 1 or jax.process_index() == 0

    def check_batch(self, batch_size: int) -> None:
        """Raise TrainError where a batch cannot be cut into equal shares."""
        n = self.n_devices
        if batch_size % n:
            below = batch_size // n * n
            nearest = f"{below} or {below + n}" if below else str(n)
            raise TrainError(
                f"optim.batch_size is {batch_size}, which {n} devices cannot share equally; "
                f"set it to {nearest}, or let fewer devices be seen"
            )

    def compile(self, step: Callable, *, donate: tuple[int, ...] = (0,)) -> Callable:
        """A step compiled for the mesh; the arguments in ``donate``, by default its state, are used up."""
        if self.mesh is None:
            return jax.jit(step, donate_argnums=donate)
        return jax.jit(step, donate_argnums=donate, out_shardings=_sharding(self.mesh))

    def shard(self, own: np.ndarray) -> Any:
        """The global batch, of which each device has its share; every process gives the rows of its own devices.

        An array of records, which no device knows, becomes a dict of arrays.
        """
        if own.dtype.names:
            return {name: self.shard(np.ascontiguousarray(own[name])) for name in own.dtype.names}
        if self.mesh is None:
            return own
        devices = self.own_devices
        size = len(own) // len(devices)
        first, shape = devices.start * size, (self.n_devices * size, *own.shape[1:])

        def share(index: Any) -> np.ndarray:
            return own[index[0].start - first : index[0].stop - first]

        return jax.make_array_from_callback(shape, _sharding(self.mesh, AXIS), share)

    def replicate(self, tree: Any) -> Any:
        """A tree of arrays on every device; every process gives the same."""
        if self.mesh is None:
            return tree
        everywhere = _sharding(self.mesh)

        def copied(leaf: Any) -> jax.Array:
            array = np.asarray(leaf)
            return jax.make_array_from_callback(array.shape, everywhere, lambda part: array[part])

        return jax.tree.map(copied, tree)

    def local(self, tree: Any) -> Any:
        """A replicated tree as arrays of this process's first device."""
        return tree if self.mesh is None else jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)

    def broadcast(self, value: Any = None) -> Any:
        """The leading process's value, on every process; what the others give is not looked at.

        Raises:
            Preempted: on the others, if the leading process gave up instead.
        """
        if self.n_processes == 1:
            return value
        sent = pickle.dumps(value) if self.leads else b""
        found = pickle.loads(self._send(sent))
        if isinstance(found, _GivenUp):
            raise Preempted(_GIVEN_UP)
        return found

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Run a block that may fail on some processes; where it failed on one, all raise."""
        failure = None
        try:
            yield
        except Exception as error:
            failure = error
        n_failed = int(failure is not None)
        if self.n_processes > 1:
            n_failed = int(self._sum(np.array([n_failed], np.int32))[0])
        if failure is not None:
            raise failure
        if n_failed:
            raise TrainError("another process of this training could not begin; its own output says why")

    @contextmanager
    def led(self) -> Iterator[None]:
        """Run a block in which followers wait for the leading process: its failure ends theirs."""
        try:
            yield
        except BaseException:
            if self.n_processes > 1 and self.leads:
                self._give_up()
            raise

    def _give_up(self) -> None:
        try:
            self._send(pickle.dumps(_GivenUp()))
        except (RuntimeError, ValueError) as error:
            log.warning("the other processes cannot be told that the training ends (%s)", str(error).split("\n")[0])

    def _send(self, content: bytes) -> bytes:
        """The leading process's bytes on all: short ones in one message, long ones in a second of their own."""
        room = _MESSAGE_BYTES - _LENGTH_BYTES
        head = len(content).to_bytes(_LENGTH_BYTES, "little") + content[:room]
        received = self._sum(_padded(head, _MESSAGE_BYTES)).tobytes()
        length = int.from_bytes(received[:_LENGTH_BYTES], "little")
        if length <= room:
            return received[_LENGTH_BYTES:][:length]
        # Rounded up, so that few sizes are ever compiled.
        return self._sum(_padded(content, 1 << (length - 1).bit_length())).tobytes()[:length]

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """The elementwise sum over processes."""
        if self.mesh is None:
            return values
        first, shape = jax.local_devices()[0], (self.n_devices, len(values))
        mine = list(self.mesh.devices.flat).index(first)

        def row(index: Any) -> np.ndarray:
            return (values if index[0].start == mine else np.zeros_like(values))[None]

        rows = jax.make_array_from_callback(shape, _sharding(self.mesh, AXIS), row)
        return np.asarray(_summing(self.mesh)(rows))


class _GivenUp:
    """What the leading process sends in place of a value."""


ONE_DEVICE = DataMesh()


def data_mesh() -> DataMesh:
    """All devices of all processes; none where there is one device, which then trains exactly as ever."""
    # Some platforms number the devices of several hosts in turns; a process's own are to be neighbours.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return ONE_DEVICE if len(devices) == 1 else DataMesh(Mesh(np.array(devices), (AXIS,)))


@dataclass(frozen=True, kw_only=True)
class Rank:
    """The place of a process among those that train together.

    Attributes:
        process: Its number; 0 leads.
        n_processes: How many there are.
        local_device: The one device of its host that it uses; None for all that it sees.
    """

    process: int = 0
    n_processes: int = 1
    local_device: int | None = None


def rank_from(environment: Mapping[str, str]) -> Rank:
    """Read this process's rank: from ``JAX_PROCESS_ID`` and ``JAX_NUM_PROCESSES``, else from its Slurm step.

    A batch script of several tasks is one process until ``srun`` starts them, so the step counts, not the job.

    Raises:
        TrainError: if the variables say something impossible.
    """
    names = ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")
    if not any(name in environment for name in names) and "SLURM_STEP_NUM_TASKS" in environment:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    try:
        process, count = int(environment.get(names[0], 0)), int(environment.get(names[1], 1))
    except ValueError:
        process, count = -1, 0
    if not 0 <= process < count:
        got = ", ".join(f"{name}={environment.get(name, '')}" for name in names)
        raise TrainError(f"the rank of this process cannot be: {got}; processes are numbered from 0, below their count")
    return Rank(process=process, n_processes=count, local_device=_local_device(environment) if count > 1 else None)


def coordinator_from(environment: Mapping[str, str]) -> str | None:
    """Where the leading process listens: ``JAX_COORDINATOR_ADDRESS``, else a port of the Slurm step's first host."""
    host = re.match(r"([^,\[]+)(?:\[(\d+))?", environment.get("SLURM_STEP_NODELIST", ""))
    if "JAX_COORDINATOR_ADDRESS" in environment or host is None:
        return environment.get("JAX_COORDINATOR_ADDRESS")
    # The jobs of a host listen at different ports, in the range that is left to anybody.
    port = 61440 + int(environment.get("SLURM_JOB_ID", 0)) % 4096
    return f"{host[1]}{host[2] or ''}:{port}"


def _local_device(environment: Mapping[str, str]) -> int | None:
    """Several processes on a host take one device each, unless each was already given its own."""
    alone = environment.get("SLURM_STEP_TASKS_PER_NODE", "1").split("(")[0] == "1"
    bound = len(environment.get("CUDA_VISIBLE_DEVICES", "").split(",")) == 1 and "CUDA_VISIBLE_DEVICES" in environment
    return None if alone or bound else int(environment.get("SLURM_LOCALID", 0))


def join_processes() -> Rank:
    """Connect this process with those that it trains with, if its environment says that there are any.

    To be called before jax is used. The leading process listens at ``JAX_COORDINATOR_ADDRESS`` (host:port), under
    Slurm by default on the first host of the step.

    Raises:
        TrainError: if the others cannot be reached.
    """
    rank = rank_from(os.environ)
    if rank.n_processes == 1:
        return rank
    # Processors exchange gradients over gloo; accelerators have collectives of their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            coordinator_from(os.environ),
            rank.n_processes,
            rank.process,
            local_device_ids=rank.local_device,
            cluster_detection_method="deactivate",
            shutdown_timeout_seconds=_SHUTDOWN_S,
        )
    except (RuntimeError, ValueError) as error:
        raise TrainError(
            f"process {rank.process} of {rank.n_processes} cannot reach the others — {str(error).splitlines()[0]}; "
            "set JAX_COORDINATOR_ADDRESS=HOST:PORT to where the first of them can listen"
        ) from error
    return rank


def _padded(content: bytes, size: int) -> np.ndarray:
    padded = np.zeros(size, np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    return padded


def _sharding(mesh: Mesh, *axes: str) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*axes))


@lru_cache(maxsize=2)
def _summing(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(lambda rows: jnp.sum(rows, axis=0, dtype=rows.dtype), out_shardings=_sharding(mesh))
