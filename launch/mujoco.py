"""`python -m launch.mujoco --agent=meta_sac --env=Hopper-v4`: MuJoCo's locomotion."""

from stac.launch import domains
from stac.runtime.faults import shutdown

main = domains.command("mujoco")

if __name__ == "__main__":
    shutdown.as_program(main)
