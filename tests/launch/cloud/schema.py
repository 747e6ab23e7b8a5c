"""The fields of a JobSet that we write, by jobset.x-k8s.io/v1alpha2 and Kubernetes.

Every field is named, and no other is allowed. Sources: jobset_types.go of
kubernetes-sigs/jobset, and the Job and Pod of the Kubernetes API.
"""

from __future__ import annotations

from typing import Any

NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
WORDS = {"type": "object", "additionalProperties": TEXT}


def fields(**properties: Any) -> dict[str, Any]:
    """An object of exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def some(item: Any) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


CHIPS = {
    "type": "object",
    "properties": {"google.com/tpu": {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}
CONTAINER = fields(
    name=NAME,
    image=TEXT,
    command=some(TEXT),
    args=some(TEXT),
    env=some(fields(name=TEXT, value=TEXT)),
    ports=some(fields(containerPort={"type": "integer", "maximum": 65535})),
    resources=fields(limits=CHIPS, requests=CHIPS),
    volumeMounts=some(fields(name=NAME, mountPath={"type": "string", "pattern": "^/"})),
)
VOLUME = {
    "oneOf": [
        fields(name=NAME, configMap=fields(name=NAME)),
        fields(name=NAME, emptyDir=fields()),
    ]
}
POD = fields(
    restartPolicy={"const": "Never"},
    terminationGracePeriodSeconds=COUNT,
    nodeSelector={
        "type": "object",
        "properties": {
            "cloud.google.com/gke-tpu-accelerator": TEXT,
            "cloud.google.com/gke-tpu-topology": {"pattern": r"^\d+(x\d+){1,2}$"},
            "cloud.google.com/gke-spot": {"const": "true"},
        },
        "required": [
            "cloud.google.com/gke-tpu-accelerator",
            "cloud.google.com/gke-tpu-topology",
        ],
        "additionalProperties": False,
    },
    containers=some(CONTAINER),
    volumes=some(VOLUME),
)
JOB = fields(
    parallelism=COUNT,
    completions=COUNT,
    completionMode={"const": "Indexed"},
    backoffLimit={"const": 0},
    template=fields(spec=POD),
)
JOBSET = fields(
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=fields(name=NAME, namespace=NAME, annotations=WORDS),
    spec=fields(
        network=fields(enableDNSHostnames={"type": "boolean"}),
        failurePolicy=fields(maxRestarts=COUNT),
        ttlSecondsAfterFinished=COUNT,
        replicatedJobs=some(
            fields(name=NAME, replicas=COUNT, template=fields(spec=JOB))
        ),
    ),
)
