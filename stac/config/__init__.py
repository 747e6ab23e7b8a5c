"""The configuration of a run: frozen dataclasses, checked when they are built."""

from stac.config.challenges import Challenges as Challenges
from stac.config.checks import FAILED as FAILED
from stac.config.checks import USER_ERROR as USER_ERROR
from stac.config.checks import ConfigError as ConfigError
from stac.config.checks import RunError as RunError
from stac.config.checks import check as check
from stac.config.checks import choose as choose
from stac.config.config import BEHAVIOURS as BEHAVIOURS
from stac.config.config import RUNTIMES as RUNTIMES
from stac.config.config import SHALLOW_PIXELS as SHALLOW_PIXELS
from stac.config.config import WORKERS as WORKERS
from stac.config.config import AgentConfig as AgentConfig
from stac.config.config import BatchConfig as BatchConfig
from stac.config.config import Config as Config
from stac.config.config import EnvironmentConfig as EnvironmentConfig
from stac.config.config import NetworkConfig as NetworkConfig
from stac.config.config import OptimizerConfig as OptimizerConfig
from stac.config.config import Outer as Outer
from stac.config.config import RuntimeConfig as RuntimeConfig
from stac.config.config import changed as changed
from stac.config.config import flat as flat
from stac.config.config import frames_per_update as frames_per_update
from stac.config.config import queue_capacity as queue_capacity
from stac.config.metaparameter_table import METAPARAMETERS as METAPARAMETERS
from stac.config.metaparameter_table import RAW_LIMIT as RAW_LIMIT
from stac.config.soft import Soft as Soft
