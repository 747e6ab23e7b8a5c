"""`python -m launch.control --agent=stacx --task=walker.walk`: the Control Suite."""

from stac.launch import domains
from stac.runtime.faults import shutdown

main = domains.command("control")

if __name__ == "__main__":
    shutdown.as_program(main)
