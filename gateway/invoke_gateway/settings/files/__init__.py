"""Reads settings files: YAML and JSON into mappings, with the line of each mistake."""
