"""Finds the hosts of a run: by flags, or by what started the processes.

Flags win. Without them the environment is asked: a step of Slurm, a TPU slice of
Kubernetes, a TPU VM. JAX has a detection of its own. It is wrong in places (a managed
instance group, a set of several Jobs), and only a process that takes the TPU can ask.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping

from stac.config import check
from stac.launch import listening
from stac.launch.listening import Address

_PORT = 8476  # and the next one, on the first host
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"
_METADATA_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The hosts of a run, as one of them sees them."""

    coordinator: Address  # the first host, and its port for the hosts' parents
    count: int
    index: int  # of this host, from 0
    here: str = ""  # the address at which others reach this host, once they have met

    @property
    def service(self) -> str:
        """The address for JAX's own service."""
        return str(self.coordinator.next)


ALONE = Hosts(Address("", 0), 1, 0)


def metadata(name: str) -> str | None:
    """An attribute of this machine, where it is a TPU VM of Google's."""
    product = pathlib.Path("/sys/class/dmi/id/product_name")
    devices = (
        *pathlib.Path("/dev").glob("accel*"),
        *pathlib.Path("/dev/vfio").glob("?"),
    )
    try:
        if not devices or "Google" not in product.read_text():
            return None
        import urllib.request  # only here: no other command needs it

        request = urllib.request.Request(
            _METADATA + name, headers={"Metadata-Flavor": "Google"}
        )
        with urllib.request.urlopen(request, timeout=_METADATA_SECONDS) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def find(
    coordinator: str | None,
    hosts: str | None,
    host: str | None,
    environ: Mapping[str, str],
    attribute: Callable[[str], str | None] = metadata,
) -> Hosts:
    """The hosts of this run; ALONE where there is but one.

    Args:
      coordinator: the flag `--coordinator`; None: not given.
      hosts: the flag `--hosts`.
      host: the flag `--host`.
      environ: the environment variables.
      attribute: see `metadata`.

    Raises:
      ConfigError: the flags do not say who the hosts are.
    """
    if coordinator is hosts is host is None:
        found = _slurm(environ) or _kubernetes(environ) or _tpu_vm(attribute) or ALONE
        return found if found.count > 1 else ALONE
    if hosts == "1" and host in (None, "0"):
        return ALONE
    check(
        None not in (coordinator, hosts, host),
        "several hosts need --coordinator=HOST:PORT of the first, --hosts=N and"
        " --host=K (0 for the first) together; --hosts=1 runs alone",
    )
    first = listening.parse("coordinator", coordinator or "")
    count, index = _whole("hosts", hosts), _whole("host", host)
    check(count >= 1, f"--hosts={hosts}: must be at least 1")
    check(
        0 <= index < count,
        f"--host={host}: must be from 0 to {count - 1} of --hosts={count}",
    )
    return Hosts(first, count, index)


def _whole(flag: str, text: str | None) -> int:
    check(
        re.fullmatch(r"-?\d+", text or ""), f"--{flag}={text}: must be a whole number"
    )
    return int(text or "")


def _slurm(environ: Mapping[str, str]) -> Hosts | None:
    """A step of one task a host (`srun --ntasks-per-node=1`)."""
    count = int(environ.get("SLURM_STEP_NUM_TASKS", 1))
    nodes = environ.get("SLURM_STEP_NODELIST", "")
    if environ.get("SLURM_STEP_NUM_NODES") != str(count):
        return None  # several tasks of one host are runs of their own
    # "rack[1-2]tpu[03-05,9]-a,x1": the first is rack1tpu03-a.
    names = re.findall(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    first = re.sub(r"\[(\w+)[^\]]*\]", r"\1", names[0]) if names else ""
    job = int(environ.get("SLURM_JOB_ID", 0))
    port = 20_000 + 2 * (job % 10_000)  # two jobs may share the first host
    return Hosts(Address(first, port), count, int(environ["SLURM_PROCID"]))


def _kubernetes(environ: Mapping[str, str]) -> Hosts | None:
    """A TPU slice whose variables GKE sets in each of its pods."""
    check(
        environ.get("MEGASCALE_NUM_SLICES", "1") == "1",
        "several TPU slices: give --coordinator, --hosts and --host",
    )
    names = environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    if len(names) == 1 or "TPU_WORKER_ID" not in environ:
        return None
    first = Address(names[0], _PORT)
    return Hosts(first, len(names), int(environ["TPU_WORKER_ID"]))


def _tpu_vm(attribute: Callable[[str], str | None]) -> Hosts | None:
    """A TPU VM, or one of an instance group.

    "unknown:unknown:10.0.0.2,unknown:unknown:10.0.0.3" are two; so are plain names.
    """
    endpoints, index = attribute("worker-network-endpoints"), None
    if endpoints:
        index = attribute("agent-worker-number")
    if not endpoints or not index:
        return None
    workers = [endpoint.rpartition(":")[2] for endpoint in endpoints.split(",")]
    return Hosts(Address(workers[0], _PORT), len(workers), int(index))
