"""`python -m launch.minatar --agent=stacx --game=breakout`: MinAtar's five games."""

from stac.launch import domains
from stac.runtime.faults import shutdown

main = domains.command("minatar")

if __name__ == "__main__":
    shutdown.as_program(main)
