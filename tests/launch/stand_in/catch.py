"""A run of a sweep that logs, saves and ends; it fails where FAILS is its agent."""

import json
import os
import sys

from stac.launch import flags
from stac.launch.domains import DOMAINS
from stac.runtime.storage import workdir

if __name__ == "__main__":
    request = flags.parse(["launch.catch", *sys.argv[1:]], DOMAINS["catch"])
    (request.workdir / workdir.CHECKPOINTS / "5").mkdir(parents=True)
    configuration = json.dumps(workdir.content(request.config))
    (request.workdir / workdir.CONFIG).write_text(configuration)
    row = {"frames": 300000, "updates": 5, "episode_return": 1.5}
    (request.workdir / workdir.METRICS).write_text(f"{json.dumps(row)}\n")
    if os.environ.get("FAILS") == request.config.agent.name:
        print("boiler")
        sys.exit(1)
