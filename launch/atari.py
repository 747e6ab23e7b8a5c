"""`python -m launch.atari --agent=stacx --game=james_bond`: the paper on Atari."""

from stac.launch import domains
from stac.runtime.faults import shutdown

main = domains.command("atari")

if __name__ == "__main__":
    shutdown.as_program(main)
