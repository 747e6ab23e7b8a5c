"""Every target's dry run against its golden file, and the manifests and scripts in it.

`python -m tests.launch.cloud.test_plans` writes the golden files anew.
"""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import subprocess
import sys

import pytest

from stac.launch.cloud import __main__ as command
from stac.launch.cloud import gcloud, plan
from tests.launch.cloud import schema

GOLDEN = pathlib.Path(__file__).parent / "golden"
ATARI = (
    "--",
    "launch.atari",
    "--agent=stacx",
    "--game=james_bond",
    "--workdir=/runs/x",
)
NEW = ("--name=stac-1", "--dry_run")
CASES = {
    "queued_resource": (
        *("queued-resource", "--zone=us-central2-b", "--accelerator_type=v4-16"),
        *("--spot", "--create_flags=--network=mine --labels=a=b"),
    ),
    "queued_resource_one_host": (
        *("queued-resource", "--zone=us-west4-a", "--project=p", "--reserved"),
        "--accelerator_type=v5litepod-8",
    ),
    "instance_group": (
        *("instance-group", "--zone=us-east5-b", "--project=p", "--spot"),
        *("--machine_type=ct6e-standard-4t", "--topology=2x4"),
    ),
    "instance_group_that_exists": (
        *("instance-group", "--zone=us-east5-b", "--use"),
        *("--machine_type=ct6e-standard-4t", "--topology=2x2"),
    ),
    "jobset": (
        *("jobset", "--image=python:3.12", "--accelerator=tpu-v5-lite-podslice"),
        *("--topology=4x4", "--spot", "--context=c", "--namespace=n"),
    ),
    "slurm": ("slurm", "--hosts=2", "--sbatch_flags=--partition=gpu --time=24:00:00"),
}
# Cases with the scripts of another: their golden files begin where those end.
SAME_SCRIPTS = {
    "queued_resource_one_host": "instance_group_that_exists",
    "instance_group": "queued_resource",
}
SCRIPTS_END = "# building the wheel\n"


def dry_run(*arguments: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert command.main([*arguments, *NEW, *ATARI]) == 0
    text = shown.getvalue().replace(sys.executable, "PYTHON")
    text = text.replace(command._uv() or "uv", "uv")
    return text.replace(str(command._ROOT), "CHECKOUT")


def test_the_wheel_brings_what_a_suite_or_a_logger_needs(capsys):
    words = ["--", "launch.gymnasium", "--env=gymnasium:CartPole-v1"]
    assert command.main([*CASES["jobset"], *NEW, *words]) == 0
    assert " ./*.whl " in capsys.readouterr().out
    words = ["--", "launch.minatar", "--logger=tensorboard,wandb"]
    assert command.main([*CASES["jobset"], *NEW, *words]) == 0
    assert '"$(echo ./*.whl)[minatar,wandb]" ' in capsys.readouterr().out


def test_slurm_gets_a_log_with_blanks_and_percents_quoted(capsys):
    words = ["--", "launch.catch", "--workdir=/runs/a b%j"]
    assert command.main([*CASES["slurm"], *NEW, *words]) == 0
    assert "#SBATCH --output='/runs/a b%%j.log'\n" in capsys.readouterr().out


def golden(name: str) -> str:
    text = (GOLDEN / f"{name}.txt").read_text()
    if name in SAME_SCRIPTS:
        return golden(SAME_SCRIPTS[name]).partition(SCRIPTS_END)[0] + text
    return text


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_is_the_golden_file(name):
    assert dry_run(*CASES[name]) == golden(name)


def test_a_workdir_that_exists_is_sent_to_host_0_before_the_run(tmp_path):
    there = ("--", "launch.catch", f"--workdir={tmp_path}")
    for name in ("queued_resource", "instance_group", "jobset"):
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            assert command.main([*CASES[name], *NEW, *there]) == 0
        before, _, after = shown.getvalue().partition("# sending the workdir to host 0")
        assert f"tar -C {tmp_path} -cf - . |" in after.splitlines()[1]
        assert "# showing the log" in after
        assert "# creating" in before


@pytest.mark.parametrize(
    ("accelerator", "hosts"),
    [
        *[("v2-8", 1), ("v3-32", 4), ("v4-8", 1), ("v4-16", 2), ("v5p-128", 16)],
        *[("v5litepod-1", 1), ("v5litepod-8", 1), ("v5litepod-16", 4), ("v6e-16", 4)],
    ],
)
def test_the_accelerator_type_tells_the_number_of_hosts(accelerator, hosts):
    assert gcloud._hosts_of_queued({"accelerator_type": accelerator}) == hosts


def manifest(text: str) -> dict:
    _, _, rest = text.partition("# the file {folder}/jobset.json\n")
    return json.JSONDecoder().raw_decode(rest)[0]


def test_the_jobset_has_no_field_that_its_schema_lacks():
    jsonschema = pytest.importorskip("jsonschema")
    text = dry_run(*CASES["jobset"])
    jsonschema.validate(manifest(text), schema.JOBSET)
    wrong = manifest(text)
    wrong["spec"]["replicatedJobs"][0]["template"]["spec"]["backofLimit"] = 0
    with pytest.raises(jsonschema.ValidationError, match="backofLimit"):
        jsonschema.validate(wrong, schema.JOBSET)


def test_the_job_inside_is_what_kubernetes_takes():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    (job,) = manifest(dry_run(*CASES["jobset"]))["spec"]["replicatedJobs"]
    whole = {"apiVersion": "batch/v1", "kind": "Job", **job["template"]}
    kubernetes_validate.validate(
        {**whole, "metadata": {"name": "x"}}, "1.30", strict=True
    )


@pytest.mark.parametrize("name", [name for name in CASES if name not in SAME_SCRIPTS])
def test_bash_can_read_every_script(name):
    scripts = dry_run(*CASES[name]).split("# the file ")[1:]
    for text in scripts:
        title, _, script = text.partition("\n")
        if title.endswith(".sh"):
            script = script.partition("\n# building")[0].partition("\n# preparing")[0]
            read = subprocess.run(
                ["bash", "-n"], input=script, capture_output=True, text=True
            )
            assert (read.returncode, read.stderr) == (0, "")


def test_an_empty_word_of_a_command_line_is_left_out():
    line = plan.argv("a {spot} --zone={zone} 'b {c}'", spot="", zone="z z", c="'")
    assert line == ("a", "--zone=z z", "b '")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for case, arguments in CASES.items():
        text = dry_run(*arguments)
        begin = text.index(SCRIPTS_END) if case in SAME_SCRIPTS else 0
        (GOLDEN / f"{case}.txt").write_text(text[begin:])
