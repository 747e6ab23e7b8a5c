"""Who the hosts are: flags first, then what started the processes."""

from __future__ import annotations

import pytest

from stac import config
from stac.launch.hosts import find
from stac.launch.hosts.find import ALONE, Hosts
from stac.launch.listening import Address

SLURM = {
    "SLURM_JOB_ID": "31415926",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_NODELIST": "tpu[03-05,9],x1",
    "SLURM_PROCID": "2",
}
KUBERNETES = {"TPU_WORKER_HOSTNAMES": "a.b,c.d", "TPU_WORKER_ID": "1"}
TPU_VM = {
    "worker-network-endpoints": "unknown:unknown:10.0.0.2,unknown:unknown:10.0.0.3",
    "agent-worker-number": "1",
}


def nothing(name: str) -> None:
    """A machine that is no TPU VM."""


def slurm(first: str) -> Hosts:
    return Hosts(Address(first, 31852), 3, 2)


def test_flags_win_over_all_that_is_detected():
    given = find.find("a:7000", "2", "1", SLURM, TPU_VM.get)
    assert given == Hosts(Address("a", 7000), 2, 1)
    assert (given.coordinator, given.service) == (("a", 7000), "a:7001")
    given = find.find("[fd00::2]:7000", "2", "1", {}, nothing)
    assert (given.coordinator, given.service) == (("fd00::2", 7000), "[fd00::2]:7001")
    assert find.find(None, "1", None, SLURM, TPU_VM.get) == ALONE
    assert find.find(None, "1", "0", SLURM, TPU_VM.get) == ALONE


@pytest.mark.parametrize(
    ("environ", "attribute", "hosts"),
    [
        ({}, nothing, ALONE),
        (SLURM, nothing, slurm("tpu03")),
        (SLURM | {"SLURM_STEP_NODELIST": "a,b"}, nothing, slurm("a")),
        (SLURM | {"SLURM_STEP_NODELIST": "n-1,n-2"}, nothing, slurm("n-1")),
        (
            SLURM | {"SLURM_STEP_NODELIST": "r[1-3]-ib"},
            nothing,
            slurm("r1-ib"),
        ),
        (
            SLURM | {"SLURM_STEP_NODELIST": "rack[1-2]n[03-04,9]x,b"},
            nothing,
            slurm("rack1n03x"),
        ),
        # Tasks of one host are runs of their own.
        (SLURM | {"SLURM_STEP_NUM_NODES": "1"}, nothing, ALONE),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, nothing, ALONE),
        # A batch script that runs no `srun` is no step.
        ({"SLURM_NTASKS": "3", "SLURM_PROCID": "0"}, nothing, ALONE),
        (KUBERNETES, nothing, Hosts(Address("a.b", 8476), 2, 1)),
        (KUBERNETES | {"TPU_WORKER_HOSTNAMES": "localhost"}, nothing, ALONE),
        ({}, TPU_VM.get, Hosts(Address("10.0.0.2", 8476), 2, 1)),
        (
            {},
            (TPU_VM | {"worker-network-endpoints": "a-0,a-1"}).get,
            Hosts(Address("a-0", 8476), 2, 1),
        ),
        ({}, {"worker-network-endpoints": "u:u:10.0.0.2"}.get, ALONE),
    ],
)
def test_without_flags_the_environment_names_the_hosts(environ, attribute, hosts):
    assert find.find(None, None, None, environ, attribute) == hosts


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((None, "2", None), "several hosts need --coordinator"),
        (("a:7000", None, None), "several hosts need --coordinator"),
        (("a", "2", "0"), "--coordinator=a: must be HOST:PORT"),
        (("a:b", "2", "0"), "--coordinator=a:b: must be HOST:PORT"),
        (("a:65535", "2", "0"), "--coordinator=a:65535: must be HOST:PORT"),
        (("a:7000", "two", "0"), "--hosts=two: must be a whole number"),
        (("a:7000", "0", "0"), "--hosts=0: must be at least 1"),
        (("a:7000", "2", "2"), "--host=2: must be from 0 to 1 of --hosts=2"),
        (("a:7000", "2", "-1"), "--host=-1: must be from 0 to 1 of --hosts=2"),
    ],
)
def test_flags_that_do_not_say_it_are_refused(flags, message):
    with pytest.raises(config.ConfigError, match=message):
        find.find(*flags, {}, nothing)


def test_several_slices_are_refused_without_flags():
    slices = KUBERNETES | {"MEGASCALE_NUM_SLICES": "2"}
    with pytest.raises(config.ConfigError, match="several TPU slices: give"):
        find.find(None, None, None, slices, nothing)


def test_a_machine_without_accelerators_is_no_tpu_vm(monkeypatch):
    monkeypatch.setattr(find.pathlib.Path, "glob", lambda *_: iter(()))
    assert find.metadata("agent-worker-number") is None
