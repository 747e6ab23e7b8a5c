"""`python -m launch.gymnasium --env=CartPole-v1`: any environment of gymnasium."""

from stac.launch import domains
from stac.runtime.faults import shutdown

main = domains.command("gymnasium")

if __name__ == "__main__":
    shutdown.as_program(main)
