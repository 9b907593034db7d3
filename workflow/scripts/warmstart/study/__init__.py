"""What a configuration means: the grid, the paths, the checks. Read while the DAG is built:
standard library, PyYAML, jsonschema."""
