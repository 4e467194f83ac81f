"""A gateway for your own tests: what the fixtures of `pytest_invoke_gateway` do, also without pytest."""

from gateway.faulting import FaultFailed
from gateway.holding import HoldFailed
from gateway.queueing import QueueFailed
from gateway.testing.events import EventsNotSettled
from gateway.testing.fault import Fault
from gateway.testing.gateway import GatewayFactory, InvokeGateway, running_gateway
from gateway.testing.hold import Hold
from gateway.testing.process import GatewayNotStarted

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
