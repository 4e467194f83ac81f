"""Faults that `prove` injects: which, how, what each excuses, and how soon the gateways recover."""
