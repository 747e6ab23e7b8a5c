"""`python -m launch.catch`: the whole system on a game that is learned in seconds."""

from stac.launch import domains
from stac.runtime.faults import shutdown

main = domains.command("catch")

if __name__ == "__main__":
    shutdown.as_program(main)
