"""`python -m launch.realworld --task=cartpole.swingup --challenge=hard`: its suite."""

from stac.launch import domains
from stac.runtime.faults import shutdown

main = domains.command("realworld")

if __name__ == "__main__":
    shutdown.as_program(main)
