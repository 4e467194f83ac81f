"""Judges a gateway from outside: `invoke-gateway prove`.

Hostile clients call it, and a backend behind it counts what truly overlaps. Nothing of the gateway's own code is used.
"""
