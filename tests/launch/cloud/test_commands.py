"""What the command answers to mistakes, before anything is made."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest

from stac.configs import catch
from stac.launch.cloud import __main__ as command
from stac.runtime.storage import workdir

QUEUED = ("queued-resource", "--zone=z-1-a", "--accelerator_type=v4-8")
JOBSET = ("jobset", "--image=i", "--topology=2x2", "--accelerator=a")
CATCH = ("--", "launch.catch")
OWN = "tests.environments.own_environments"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("slrum", *CATCH), "invalid choice: 'slrum' (choose from"),
        (
            ("queued-resource", *CATCH),
            "arguments are required: --accelerator_type, --zone: see --help",
        ),
        ((*QUEUED, "--zon=a", *CATCH), "unrecognized arguments: --zon=a: see --help"),
        ((*QUEUED, "--use", *CATCH), "--use needs --name"),
        ((*QUEUED, "--collect_minutes=-1", *CATCH), "--collect_minutes=-1: must be"),
        (
            (*QUEUED, "--", "launch.gymnasium", f"--env={OWN}:Tiny-v3"),
            f"{OWN}:Tiny-v3: a module of yours is on no host: use slurm",
        ),
        (
            (*QUEUED, *CATCH, "--flagfile=/dev/null"),
            "--flagfile=/dev/null: the file is on no host: write its flags here",
        ),
        ((*QUEUED, "--name=Mine", *CATCH), "--name=Mine: up to 40 lower-case letters"),
        (
            (*QUEUED, "--hosts=two", *CATCH),
            "argument --hosts: invalid int value: 'two'",
        ),
        (
            (*QUEUED[:2], "--accelerator_type=v9-8", *CATCH),
            "unknown accelerator type 'v9'",
        ),
        ((*QUEUED[:2], "--accelerator_type=v4", *CATCH), "must be such as v4-16"),
        (QUEUED, "no command to train with: end with -- launch.atari"),
        ((*QUEUED, "--"), "no command to train with"),
        (
            (*QUEUED, "--", "launch.atary"),
            "unknown command 'atary': did you mean atari?",
        ),
        ((*QUEUED, *CATCH, "--sed=1"), "unknown flag --sed: did you mean --seed or"),
        (
            (*QUEUED, *CATCH, "--hosts=2"),
            "--hosts after -- is the launch's own: leave it out; --hosts goes before",
        ),
        (
            (*QUEUED, *CATCH, "--runtime=lockstep"),
            "--runtime after -- is the launch's own",
        ),
        ((*QUEUED, "--hosts=0", *CATCH), "--hosts=0: must be at least 1"),
        (
            (*QUEUED, "--hosts=3", *CATCH),
            "a batch of 16 does not divide over 3 hosts",
        ),
        (("slurm", "--sbatch_flags='x", *CATCH), "--sbatch_flags='x: No closing quot"),
        ((*QUEUED, "--create_flags='x", *CATCH), "--create_flags='x: No closing quot"),
        (
            (*QUEUED[:2], "--accelerator_type=v9-8", "--hosts=1", *CATCH),
            "launch.cloud: unknown accelerator type 'v9'",
        ),
        (
            (
                *("instance-group", "--zone=z-1-a", "--topology=4"),
                *("--machine_type=ct6e-standard-4t", *CATCH),
            ),
            "--topology=4: must be such as 4x4 or 2x2x4",
        ),
        ((*JOBSET, "--chips=0", *CATCH), "--chips=0: must be a whole number, at least"),
        ((*JOBSET, "--chips=four", *CATCH), "--chips=four: must be a whole number"),
        ((*JOBSET, "--extra=it's", *CATCH), "--extra=it's: No closing quotation"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(arguments, line, capsys):
    assert command.main([*arguments[:1], "--dry_run", *arguments[1:]]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("launch.cloud: ")
    assert shown.err.count("\n") == 1
    assert line in shown.err


def test_a_run_that_its_hosts_would_not_continue_costs_no_machine(tmp_path, capsys):
    def launched(*flags):
        place = f"--workdir={tmp_path / 'run'}"
        status = command.main([*QUEUED, "--dry_run", *CATCH, place, *flags])
        return status, "".join(capsys.readouterr())

    config = catch.config()
    with workdir.prepare(tmp_path / "run", config) as begun:
        row = json.dumps({"frames": config.total_frames, "updates": 7, "seconds": 1})
        (begun.path / workdir.METRICS).write_text(f"{row}\n")
    assert "nothing left to do" not in launched()[1]
    status, line = launched("--seed=2")
    assert (status, "a run of another configuration: seed" in line) == (2, True)
    (tmp_path / "run" / workdir.CHECKPOINTS / "7").mkdir(parents=True)
    status, line = launched()
    assert (status, line.startswith("nothing left to do: 300k")) == (0, True)


@pytest.mark.parametrize(
    ("target", "tool"),
    [
        (QUEUED, "gcloud"),
        (("slurm",), "sbatch"),
        (JOBSET, "kubectl"),
    ],
)
def test_a_tool_that_is_missing_is_named_but_for_a_dry_run(
    target, tool, capsys, monkeypatch
):
    monkeypatch.setattr(
        shutil, "which", lambda name: "uv" if "uv" in str(name) else None
    )
    assert command.main([*target, *CATCH]) == 2
    assert f"launch.cloud: {tool} is not installed here" in capsys.readouterr().err
    assert command.main([*target, "--dry_run", *CATCH]) == 0


def test_without_a_target_all_are_listed(capsys):
    for arguments in ([], ["--help"]):
        with pytest.raises(SystemExit) as ended:
            command.main(arguments)
        assert ended.value.code == 0
        listed = capsys.readouterr().out
        assert all(f"\n    {name}" in listed for name in command.TARGETS)


@pytest.mark.parametrize("name", command.TARGETS)
def test_a_target_lists_its_options_and_an_example_that_works(name, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    options = (*command.TARGETS[name].options, "name", "hosts", "dry_run")
    assert all(f"\n  --{option} " in shown for option in options)
    words = shlex.split(command.TARGETS[name].example)
    assert command.main([name, *words, "--dry_run", *CATCH]) == 0
