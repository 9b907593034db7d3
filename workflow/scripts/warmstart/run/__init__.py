"""The process around an idea: command line, errors, logs, files, locks."""
