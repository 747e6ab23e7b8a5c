"""A JobSet on Google Kubernetes Engine: a pod on every host of a TPU slice.

The wheel and the scripts come in a ConfigMap (the wheel has 0.2 MB, a ConfigMap up to 1
MiB), so that any image with Python will do. The workdir is fetched from pod 0, and all
pods wait for that, 10 minutes at most. A volume claim would have to be shared by all
hosts and made ready before, and its content would still have to be fetched.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

from stac.config import check
from stac.launch.cloud import gcloud, host
from stac.launch.cloud.plan import Argv, Launch, Made, Option, Plan, Step, Target, shell

PLACE = "/stac"
_WHERE = """\
host=$JOB_COMPLETION_INDEX
coordinator={name}-hosts-0-0.{name}
bash install.sh || exit 1"""
_PUSHED = """
[ "$host" != 0 ] || until [ -e sent ]; do sleep 1; done"""
_AFTER = """\
# The first pod that ends may take the others with it, and their files.
trap 'exit "$status"' TERM
for _ in $(seq 600); do sleep 1; done"""
_SAVING_SECONDS = 120


def manifest(launch: Launch, hosts: int) -> Mapping[str, Any]:
    """The JobSet. Its controller makes the headless service that names the pods."""
    options, name = launch.options, launch.name
    chips = {"google.com/tpu": _chips(options)}
    selector = {
        "cloud.google.com/gke-tpu-accelerator": options["accelerator"],
        "cloud.google.com/gke-tpu-topology": options["topology"],
    }
    if options["spot"]:
        selector["cloud.google.com/gke-spot"] = "true"
    container = {
        "name": "stac",
        "image": options["image"],
        "command": ["bash", "-c"],
        "args": [f"cp /package/* {PLACE} && cd {PLACE} && exec bash run.sh"],
        "env": [{"name": "HOME", "value": PLACE}],
        "ports": [{"containerPort": host.PORT}, {"containerPort": host.PORT + 1}],
        "resources": {"limits": chips, "requests": chips},
        "volumeMounts": [
            {"name": "package", "mountPath": "/package"},
            {"name": "stac", "mountPath": PLACE},
        ],
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _SAVING_SECONDS,
        "nodeSelector": selector,
        "containers": [container],
        "volumes": [
            {"name": "package", "configMap": {"name": name}},
            {"name": "stac", "emptyDir": {}},
        ],
    }
    job = {
        "parallelism": hosts,
        "completions": hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "template": {"spec": pod},
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": name,
            "namespace": options["namespace"],
            "annotations": {
                "alpha.jobset.sigs.k8s.io/exclusive-topology": (
                    "cloud.google.com/gke-nodepool"
                )
            },
        },
        "spec": {
            "network": {"enableDNSHostnames": True},
            "failurePolicy": {"maxRestarts": 0},
            "ttlSecondsAfterFinished": 600,
            "replicatedJobs": [
                {"name": "hosts", "replicas": 1, "template": {"spec": job}}
            ],
        },
    }


def _plan(launch: Launch, hosts: int) -> Plan:
    name = launch.name
    kubectl: Argv = ("kubectl", f"--namespace={launch.options['namespace']}")
    if context := launch.options["context"]:
        kubectl = (*kubectl, f"--context={context}")

    def thing(kind: str) -> Made:
        get = ("get", kind, name, "--ignore-not-found", "--output=name")
        delete = ("delete", kind, name, "--ignore-not-found")
        return Made(f"{kind} {name}", (*kubectl, *get), (*kubectl, *delete))

    def pod_0(command: str, *flags: str) -> Argv:
        return (*kubectl, "exec", *flags, "{pod0}", "--", "bash", "-c", command)

    everyone = f"--selector=jobset.sigs.k8s.io/jobset-name={name}"
    first = f"{everyone},batch.kubernetes.io/job-completion-index=0"
    get = (*kubectl, "get", "pods", first)
    logs = (*kubectl, "logs", everyone, "--tail=20", "--prefix")
    code = "{.status.containerStatuses[*].state.terminated.exitCode}"
    exit_code = (*kubectl, "get", "pod", "{pod0}", f"--output=jsonpath={code}")
    run = f"{PLACE}/{host.run(launch)}"
    receive = pod_0(f"{host.unpack(run)} && touch {PLACE}/sent", "--stdin")
    package = ("create", "configmap", name, "--from-file={folder}/package")
    steps = [
        Step("building the wheel", (launch.build,)),
        Step(
            f"creating the configmap {name}",
            ((*kubectl, *package),),
            makes=thing("configmap"),
        ),
        Step(
            f"creating the jobset {name}",
            ((*kubectl, "create", "--filename={folder}/jobset.json"),),
            makes=thing("jobset"),
        ),
        Step(
            "waiting for host 0",
            ((*get, "--output=jsonpath={.items[*].status.phase}"),),
            until="Running",
            never=("Failed", "Succeeded"),
            explain=(logs,),
        ),
        Step(
            "asking for its name",
            ((*get, "--output=jsonpath={.items[*].metadata.name}"),),
            keep="pod",
        ),
        Step(
            "waiting for its scripts",
            (pod_0(f"[ -s {PLACE}/pid ] && echo there"),),
            until="there",
            explain=(logs,),
        ),
    ]
    if launch.resumes:
        steps.append(
            Step("sending the workdir to host 0", (host.send(launch.workdir, receive),))
        )
    where = _WHERE.format(name=name) + (_PUSHED if launch.resumes else "")
    text = json.dumps(manifest(launch, hosts), indent=2)
    return Plan(
        files={
            **host.files(launch, hosts, where, _AFTER),
            "jobset.json": f"{text}\n",
        },
        steps=tuple(steps),
        follow=Step(
            "showing the log of host 0",
            (pod_0(f"bash {PLACE}/follow.sh"),),
            explain=(logs,),
        ),
        # A pod that is gone has left its status with the cluster.
        status=shell(
            f"{shlex.join(pod_0(f'bash {PLACE}/status.sh'))} || {shlex.join(exit_code)}"
        ),
        stop=(pod_0(f'kill -TERM "$(cat {PLACE}/pid)"'),),
        collect=(host.fetch(pod_0(host.pack(run)), launch.workdir),),
    )


def _hosts(options: Mapping[str, Any]) -> int:
    return math.ceil(gcloud.topology_chips(options["topology"]) / _chips(options))


def _chips(options: Mapping[str, Any]) -> int:
    text = options["chips"]
    good = re.fullmatch(r"[1-9]\d*", text)
    check(good, f"--chips={text}: must be a whole number, at least 1")
    return int(text)


JOBSET = Target(
    summary="pods on the TPU nodes of a Kubernetes cluster with JobSet",
    options={
        "image": Option("any image with bash and Python 3.11 or later", default=None),
        "accelerator": Option("such as tpu-v5-lite-podslice", default=None),
        "topology": Option("of the slice's chips, such as 4x4", default=None),
        "chips": Option("chips of one host", default="4"),
        "namespace": Option("namespace of all that is created", default="default"),
        "context": Option("context of kubectl; its current one by default"),
        "spot": Option("nodes that may be taken back", default=False),
        "extra": Option("what is installed beside the wheel", default="jax[tpu]"),
    },
    example=("--image=python:3.12 --accelerator=tpu-v5-lite-podslice --topology=4x4"),
    tools=("kubectl",),
    hosts=_hosts,
    plan=_plan,
)
