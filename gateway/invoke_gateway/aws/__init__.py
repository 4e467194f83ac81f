"""Holds what the gateway needs of AWS itself: the credentials with which it signs."""
