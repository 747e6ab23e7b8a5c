"""TPU VMs of Google Cloud: a queued resource, or a managed instance group.

Both are hosts that `gcloud` reaches by ssh. They know from their metadata which host of
the slice they are. Folders travel through tar and ssh, which is the same for both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from stac.config import check, choose
from stac.launch.cloud import host
from stac.launch.cloud.plan import (
    Argv,
    Launch,
    Made,
    Option,
    Plan,
    Step,
    Target,
    argv,
    flags_of,
)

# By the kind in an accelerator type: its runtime, and the cores or chips of a host in
# a slice of several. v2 to v5p count cores, two a chip; v5litepod and v6e count chips.
_KINDS = {
    "v2": ("tpu-ubuntu2204-base", 8),
    "v3": ("tpu-ubuntu2204-base", 8),
    "v4": ("tpu-ubuntu2204-base", 8),
    "v5litepod": ("v2-alpha-tpuv5-lite", 4),
    "v5p": ("v2-alpha-tpuv5", 8),
    "v6e": ("v2-alpha-tpuv6e", 4),
}
_ONE_HOST = 8  # up to this size every kind is one host
_ZONE = "--zone={zone}"
# In some lists the name is a path.
_OF_THAT_NAME = """'--filter=name ~ "(^|/){name}$"' '--format=value(name)'"""
_QUEUED, _MANAGED = "tpus queued-resources", "instance-groups managed"


def topology_chips(topology: str) -> int:
    """The number of chips in `4x4` or `2x2x4`."""
    good = re.fullmatch(r"\d+(x\d+){1,2}", topology)
    check(good, f"--topology={topology}: must be such as 4x4 or 2x2x4")
    return math.prod(map(int, topology.split("x")))


def _queued(launch: Launch, hosts: int) -> Plan:
    options = launch.options
    kind, _ = _kind(options)
    runtime = options["runtime_version"] or _KINDS[kind][0]
    gcloud = _gcloud(launch, runtime=runtime)
    thing = Made(
        f"queued resource {launch.name}",
        gcloud(f"{_QUEUED} list {_ZONE} {_OF_THAT_NAME}"),
        gcloud(f"{_QUEUED} delete {{name}} {_ZONE} --force"),
    )
    create = gcloud(
        f"{_QUEUED} create {{name}} {_ZONE} --node-id={{name}} {{spot}} {{reserved}}"
        " --accelerator-type={accelerator_type} --runtime-version={runtime}"
    )
    state = f"{_QUEUED} describe {{name}} {_ZONE} --format=value(state.state)"
    lost = ("FAILED", "SUSPENDING", "SUSPENDED", "DELETING")
    steps = (
        Step(
            f"creating the {thing.name}",
            (create + flags_of(launch, "create_flags"),),
            makes=thing,
        ),
        Step(
            "waiting for the machines",
            (gcloud(state),),
            until="ACTIVE",
            never=lost,
        ),
    )

    def ssh(index: int, command: str) -> Argv:
        tool = gcloud(f"tpus tpu-vm ssh {{name}} {_ZONE} --worker={index}")
        return (*tool, f"--command={command}")

    return _plan(launch, hosts, () if options["use"] else steps, ssh)


def _group(launch: Launch, hosts: int) -> Plan:
    options = launch.options
    region = options["zone"].rpartition("-")[0]
    policy = f"regions/{region}/resourcePolicies/{launch.name}"
    if project := options["project"]:
        policy = f"projects/{project}/{policy}"
    gcloud = _gcloud(launch, region=region, policy=policy, hosts=str(hosts))

    def creating(
        name: str, tool: str, place: str, flags: str, *more: str, kind: str = ""
    ) -> Step:
        thing = Made(
            f"{name} {launch.name}",
            gcloud(f"{tool} list {_OF_THAT_NAME}"),
            gcloud(f"{tool} delete {{name}} {place}"),
        )
        create = gcloud(f"{tool} create {kind} {{name}} {place} {flags}")
        return Step(f"creating the {thing.name}", ((*create, *more),), makes=thing)

    def ssh(machine: str, command: str) -> Argv:
        tool, group, verb, *flags = gcloud(f"ssh {_ZONE}")
        return (tool, group, verb, machine, *flags, f"--command={command}")

    spot = "--provisioning-model=SPOT --instance-termination-action=DELETE"
    slice_policy = creating(
        "workload policy",
        "resource-policies",
        "--region={region}",
        "--type=HIGH_THROUGHPUT --accelerator-topology={topology}",
        kind="workload-policy",
    )
    template = creating(
        "instance template",
        "instance-templates",
        "",
        "--machine-type={machine_type} --image-family={image_family}"
        " --image-project={image_project} --maintenance-policy=TERMINATE"
        f" --scopes=cloud-platform {spot if options['spot'] else ''}",
        *flags_of(launch, "create_flags"),
    )
    group = creating(
        "instance group",
        _MANAGED,
        _ZONE,
        "--size={hosts} --template={name} --default-action-on-vm-failure=do-nothing"
        f" {'--workload-policy={policy}' if hosts > 1 else ''}",
    )
    stable = gcloud(f"{_MANAGED} wait-until {{name}} {_ZONE} --stable")
    names = gcloud(f"{_MANAGED} list-instances {{name}} {_ZONE} --format=value(NAME)")
    order = f"{host.ABOUT}; about worker-network-endpoints | tr , '\\n' | cut -d. -f1"
    steps = (
        *((slice_policy,) if hosts > 1 else ()),
        *(template, group),
        Step("waiting for the machines", (stable,)),
    )
    steps = (
        *(() if options["use"] else steps),
        Step("listing the machines", (names,), keep="any"),
        Step("waiting for ssh", (ssh("{any0}", "echo reached"),), until="reached"),
        Step("listing them in the slice's order", (ssh("{any0}", order),), keep="vm"),
    )
    return _plan(
        launch, hosts, steps, lambda index, command: ssh(f"{{vm{index}}}", command)
    )


def _plan(
    launch: Launch, hosts: int, steps: tuple[Step, ...], ssh: Callable[[int, str], Argv]
) -> Plan:
    """The part that is the same for all hosts with ssh."""
    place, run = host.DIRECTORY, f"{host.DIRECTORY}/{host.run(launch)}"

    def all_hosts(command: str) -> tuple[Argv, ...]:
        return tuple(ssh(index, command) for index in range(hosts))

    start = (
        f"cd {place} && rm -f pid status && (setsid nohup bash run.sh >/dev/null 2>&1"
        " </dev/null &) && until [ -s pid ]; do sleep 0.2; done"
    )
    package = tuple(
        host.send("{folder}/package", receive)
        for receive in all_hosts(host.unpack(place))
    )
    resume = host.send(launch.workdir, ssh(0, host.unpack(run)))
    steps = (
        Step("building the wheel", (launch.build,)),
        *steps,
        *(
            Step(f"waiting for host {index}", (command,), until="reached")
            for index, command in enumerate(all_hosts("echo reached"))
        ),
        Step("sending the wheel and the scripts to every host", package),
        Step("installing them on every host", all_hosts(f"bash {place}/install.sh")),
        *((Step("sending the workdir to host 0", (resume,)),) * launch.resumes),
        Step("starting the run on every host", all_hosts(start)),
    )
    follow = Step(
        "showing the log of host 0",
        (ssh(0, f"bash {place}/follow.sh"),),
        explain=all_hosts(f"tail -n 20 {place}/log"),
    )
    return Plan(
        files=host.files(launch, hosts, host.TPU_VM),
        steps=steps,
        follow=follow,
        status=ssh(0, f"bash {place}/status.sh"),
        stop=(ssh(0, f'kill -TERM "$(cat {place}/pid)"'),),
        collect=(host.fetch(ssh(0, host.pack(run)), launch.workdir),),
    )


def _gcloud(launch: Launch, **more: str) -> Callable[[str], Argv]:
    """Makes command lines whose words come from the launch and its options."""
    options = launch.options
    project = f"--project={options['project']}" if options["project"] else ""
    flags = {name: f"--{name}" for name in ("spot", "reserved") if options.get(name)}
    words = {**options, "spot": "", "reserved": "", **flags, **more}
    words |= {"name": launch.name, "project": project}
    return lambda text: argv(f"gcloud compute {text} {{project}} --quiet", **words)


def _kind(options: Mapping[str, Any]) -> tuple[str, int]:
    kind, _, size = options["accelerator_type"].partition("-")
    choose("accelerator type", kind, _KINDS)
    check(
        size.isdigit(), f"--accelerator_type={kind}-{size}: must be such as {kind}-16"
    )
    return kind, int(size)


def _hosts_of_queued(options: Mapping[str, Any]) -> int:
    kind, size = _kind(options)
    return 1 if size <= _ONE_HOST else math.ceil(size / _KINDS[kind][1])


def _hosts_of_group(options: Mapping[str, Any]) -> int:
    chips = re.search(r"-(\d+)t$", options["machine_type"])
    check(chips, "--machine_type: must end with its chips, such as ct6e-standard-4t")
    assert chips
    return math.ceil(topology_chips(options["topology"]) / int(chips[1]))


_OPTIONS = {
    "zone": Option("zone, such as us-central2-b", default=None),
    "project": Option("gcloud's own by default"),
    "spot": Option("cheaper machines that may be taken back", default=False),
    "create_flags": Option("more flags for the command that asks for the machines"),
    "use": Option("machines called --name exist: run there, leave them", default=False),
    "extra": Option("what is installed beside the wheel", default="jax[tpu]"),
}
QUEUED_RESOURCE = Target(
    summary="TPU VMs by the Cloud TPU service: v2 to v6e",
    options={
        "accelerator_type": Option("such as v4-8 or v5litepod-16", default=None),
        "runtime_version": Option("the machines' image; by the accelerator by default"),
        "reserved": Option("from a reservation", default=False),
        **_OPTIONS,
    },
    example="--zone=us-central2-b --accelerator_type=v4-16 --spot",
    tools=("gcloud",),
    hosts=_hosts_of_queued,
    plan=_queued,
)
INSTANCE_GROUP = Target(
    summary="TPU VMs by Compute Engine: v5e and later",
    options={
        "machine_type": Option("such as ct6e-standard-4t", default=None),
        "topology": Option("of the slice's chips, such as 4x4", default=None),
        "image_family": Option(
            "the machines' image", default="ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e"
        ),
        "image_project": Option(
            "the image's project", default="ubuntu-os-accelerator-images"
        ),
        **_OPTIONS,
    },
    example="--zone=us-east5-b --machine_type=ct6e-standard-4t --topology=4x4",
    tools=("gcloud",),
    hosts=_hosts_of_group,
    plan=_group,
)
