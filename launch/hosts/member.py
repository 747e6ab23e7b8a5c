"""The child of one host, which trains: `python -m stac.launch.hosts.member RUN`.

RUN is a pickle in base64: the configuration, the workdir and the hosts.
"""

from __future__ import annotations

import base64
import pickle
import sys
from typing import NoReturn

from stac.launch import child, threads
from stac.launch.hosts.find import Hosts
from stac.runtime import devices
from stac.runtime.faults import lines, shutdown
from stac.runtime.faults.heartbeat import Heartbeat


def main() -> NoReturn:
    config, workdir, hosts = pickle.loads(base64.b64decode(sys.argv[1]))
    assert isinstance(hosts, Hosts)
    lines.prefix = f"[host {hosts.index}] "

    def work(asked: shutdown.Stop, heartbeat: Heartbeat) -> None:
        devices.join_hosts(hosts.service, hosts.count, hosts.index, hosts.here)
        threads.train(config, workdir, asked, shutdown.Stop())
        devices.leave_hosts()

    child.run(work, shutdown.GRACE_SECONDS)


if __name__ == "__main__":
    main()
