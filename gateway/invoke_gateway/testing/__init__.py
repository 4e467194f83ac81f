"""Provides a gateway for your own tests, as the fixtures of `pytest_invoke_gateway` do, also without pytest."""

from invoke_gateway.admin_client import FaultFailed, HoldFailed, QueueFailed
from invoke_gateway.testing.events import EventsNotSettled
from invoke_gateway.testing.fault import Fault
from invoke_gateway.testing.gateway import GatewayFactory, InvokeGateway, running_gateway
from invoke_gateway.testing.hold import Hold
from invoke_gateway.testing.process import GatewayNotStarted

__all__ = [
    "EventsNotSettled",
    "Fault",
    "FaultFailed",
    "GatewayFactory",
    "GatewayNotStarted",
    "Hold",
    "HoldFailed",
    "InvokeGateway",
    "QueueFailed",
    "running_gateway",
]
