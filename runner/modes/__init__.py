"""The modes of the command line. `command(config)` of `runner.modes.NAME` runs `mode=NAME`."""
