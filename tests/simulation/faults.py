"""What goes wrong, and when: chosen by the seed, all over at `calm_from`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from invoke_gateway.counters.shared.messages import encode_forget
from invoke_gateway.counters.shared.script import FORGET

from .network import Server

if TYPE_CHECKING:
    from .course import Course
    from .gateway import Gateway


class Faults:
    def __init__(self, course: Course) -> None:
        self._course = course
        self._world, self._network = course.world, course.network
        self._runs = 1
        self.behind = 0.0
        """By how many seconds a server that took over was behind, at most: so much longer its leases last."""
        self.counts: dict[str, int] = {}

    def plan(self, calm_from: float) -> None:
        """A few faults of few kinds, so that the same happens again before it has healed."""
        random = self._world.random
        kinds: list[tuple[Callable[[], None], int]] = [
            (self.stop, 3), (self.stop_with_grant, 3), (self.harass, 3), (self.freeze, 2), (self.be_busy, 2),
            (self.kill, 3), (self.cut, 3), (self.break_connections, 4), (self.restart_empty, 1), (self.restart, 1),
            (self.fail_over, 2), (self.lose_grant, 3), (self.flush, 1), (self.leave, 1), (self.release, 1),
            (self.add, 1),
        ]  # fmt: skip
        if self._course.expectation.gateways:
            kinds.append((self.replace_beside_loss, 8))
        theme = random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds], k=random.randint(1, 4))
        for kind in random.choices(theme, k=random.randint(0, 8)):
            self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1
            self._world.at(random.uniform(0.5, calm_from - 0.1), kind)

    def _length(self) -> float:
        """Mostly short, sometimes for some leases, never beyond the end of all faults."""
        random = self._world.random
        longest = random.choice([0.02, 0.3, 0.3, self._course.lease * 1.2, self._course.lease * 3])
        return min(random.uniform(0, longest), self._network.calm_from - self._world.now)

    def _gateway(self) -> Gateway | None:
        alive = [gateway for gateway in self._course.gateways if gateway.is_alive]
        return self._world.random.choice(alive) if alive else None

    # Gateways.

    def stop(self) -> None:
        if (gateway := self._gateway()) is not None:
            seconds = self._length()
            self._world.note("FAULT {} is stopped for {:.3f} s", gateway.name, seconds)
            gateway.stop_for(seconds)

    def stop_with_grant(self) -> None:
        """The worst moment: the store has granted, and the gateway does not know yet."""
        if (gateway := self._gateway()) is not None:

            def stop() -> None:
                seconds = self._length()
                self._world.note("FAULT {} is stopped for {:.3f} s with a grant on its way", gateway.name, seconds)
                gateway.stop_for(seconds)

            gateway.when_granted = stop

    def harass(self) -> None:
        """Released and cut again and again, so that epochs follow one another while old requests still travel."""
        if (gateway := self._gateway()) is not None:
            for _ in range(self._world.random.randint(2, 8)):
                self._world.after(min(self._length(), 1.0), self._vex, gateway)

    def _vex(self, gateway: Gateway) -> None:
        if gateway.is_alive:
            if self._world.chance(0.6):
                self.release(gateway)
            if self._world.chance(0.6):
                self._network.break_connections(gateway.name)

    def be_busy(self) -> None:
        if (gateway := self._gateway()) is not None:
            seconds = self._length()
            self._world.note("FAULT the event loop of {} is busy for {:.3f} s", gateway.name, seconds)
            gateway.be_busy_for(seconds)

    def kill(self) -> None:
        if (gateway := self._gateway()) is not None:
            self._world.note("FAULT {} is killed", gateway.name)
            gateway.kill()
            if self._world.chance(0.7):
                self._world.after(self._world.random.uniform(0, 1), self.add)

    def leave(self) -> None:
        if (gateway := self._gateway()) is not None and gateway.stopped_until <= self._world.now:
            self._world.note("FAULT {} is ended", gateway.name)
            gateway.leave()

    def add(self) -> None:
        if self._course.has_room():
            self._course.add_gateway()

    def release(self, gateway: Gateway | None = None) -> None:
        """Somebody takes a gateway for dead."""
        gateway, server = gateway or self._gateway(), self._network.server
        if gateway is not None and server is not None:
            self._world.note("FAULT {} is released by hand", gateway.name)
            gateway.forgotten += 1
            self._network.run_script(server, gateway.name, FORGET, encode_forget(gateway.name))

    # The network.

    def cut(self) -> None:
        if (gateway := self._gateway()) is not None:
            seconds = self._length()
            self._world.note("FAULT {} is cut off for {:.3f} s", gateway.name, seconds)
            self._network.cut_until[gateway.name] = self._world.now + seconds

    def break_connections(self) -> None:
        gateway = self._gateway() if self._world.chance(0.6) else None
        self._world.note("FAULT connections of {} break", gateway.name if gateway else "all")
        self._network.break_connections(gateway.name if gateway else None)

    # The store.

    def freeze(self) -> None:
        """Nobody reaches it; it goes on as if nothing had been."""
        seconds = self._length()
        self._world.note("FAULT nobody reaches the store for {:.3f} s", seconds)
        for gateway in self._course.gateways:
            self._network.cut_until[gateway.name] = self._world.now + seconds

    def flush(self) -> None:
        if self._network.server is not None:
            self._world.note("FAULT the store is emptied")
            self._network.server.forget_everything()

    def restart_empty(self) -> None:
        self._replace(self._next_server(0.0), "the store restarts empty")

    def restart(self) -> None:
        """With what it had written to its disk, which lacks the end."""
        following = self._next_server(0.0)
        self._copy_soon(following, lambda: self._replace(following, "the store restarts with older data"))

    def fail_over(self) -> None:
        """To a replica that lacks the last writes, and whose clock is another."""
        following = self._next_server(self._world.random.uniform(-1, 1) * self._course.lease / 3)
        self._copy_soon(following, lambda: self._replace(following, "a replica takes over"))

    def lose_grant(self) -> None:
        """The replica that takes over lacks one grant, and the gateway that has it hears no more from clients."""
        if (gateway := self._gateway()) is None:
            return
        following = self._next_server(0.0)

        def copy() -> None:
            if self._network.server is not None:
                self._network.server.copy_to(following)

        def take_over() -> None:
            self._course.send_nobody_to(gateway)
            self._world.after(
                self._world.random.uniform(0, 0.05),
                self._replace,
                following,
                f"a replica without {gateway.name}'s last",
            )

        gateway.before_script, gateway.when_granted = copy, take_over

    def replace_beside_loss(self) -> None:
        """The store loses what it has just when some gateways are replaced: the new ones report first, and know nobody.
        Some courses have a store with older data instead of none, and some have new gateways that crash."""
        random, course = self._world.random, self._course
        alive = [gateway for gateway in course.gateways if gateway.is_alive]
        # Of groups only one worker is left, so that whole groups are new.
        most = max(0, len(alive) - 1)
        gone = most if course.expectation.workers > 1 else random.randint(0, most)
        for gateway in random.sample(alive, gone):
            if self._world.chance(0.5) and gateway.stopped_until <= self._world.now:
                self._world.note("FAULT {} is ended", gateway.name)
                gateway.leave()
            else:
                self._world.note("FAULT {} is killed", gateway.name)
                gateway.kill()
        if self._world.seed % 5 == 4:
            self.restart()
        else:
            self.flush()
        for _ in range(random.randint(1, 3) if course.expectation.workers == 1 else course.expectation.workers):
            is_loop = self._world.seed % 5 == 0
            self._world.after(random.uniform(0, course.lease / 8), self._add_to_crash if is_loop else self.add)

    def _add_to_crash(self) -> None:
        """A gateway that crashes in a loop: each time it registers, and dies, and the next has another name."""
        if self._course.has_room():
            gateway = self._course.add_gateway()
            self._world.after(self._course.lease / 50, gateway.kill)
            self._world.after(self._course.lease / 40, self.add)

    def _next_server(self, ahead: float) -> Server:
        self._runs += 1
        current = self._network.server
        return Server(self._world, f"run-{self._runs}", ahead + (current.ahead if current else 0.0))

    def _copy_soon(self, following: Server, then: Callable[[], None]) -> None:
        server = self._network.server
        if server is None:
            return
        server.copy_to(following)
        lag = self._world.random.choice([0.0, 0.01, 0.1, 1.0]) * self._world.random.random()
        self._world.after(min(lag, max(0.0, self._network.calm_from - self._world.now)), then)

    def _replace(self, following: Server, what: str) -> None:
        current = self._network.server
        if current is None:
            return  # it is away already
        self._world.note("FAULT {}: {} after {}", what, following, current)
        self.behind = max(self.behind, self.behind + current.ahead - following.ahead)
        self._network.server = None
        self._network.break_connections()
        away = self._length() if self._world.chance(0.5) else 0.0
        self._world.after(away, self._serve, following)

    def _serve(self, following: Server) -> None:
        self._network.server = following
