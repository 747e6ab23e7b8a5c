"""The commands: flags, configuration, runtime."""
