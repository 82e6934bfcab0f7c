"""A network for tests: what it will say is written down beforehand, and what it was asked can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pkiconf.clock import Timepiece
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.network import Proof
from pkiconf.egress.ntp import ask_servers
from pkiconf.entropy import SystemEntropy
from pkiconf.model.acme import Problem, ProblemType
from pkiconf.model.time_source import TimeAnswer
from pkiconf.policy.caa import CAARecord
from pkiconf.spec.settings import ValidationSettings

NOT_THERE = Problem(ProblemType.CONNECTION, "nothing listens there")


@dataclass
class ScriptedNetwork:
    """`proofs` are values of identifiers whose proof is found, `"*"` all; `script` says what is found instead."""

    proofs: set[str] = field(default_factory=set)
    caa: dict[str, tuple[CAARecord, ...] | Problem] = field(default_factory=dict)
    script: Callable[[Proof], Problem | None] | None = None
    asked: list[Proof] = field(default_factory=list)
    asked_caa: list[str] = field(default_factory=list)
    patience: float = 60.0
    """Seconds that time servers have to answer."""

    def find(self, proof: Proof, settings: ValidationSettings, deadline: Deadline) -> Problem | None:
        self.asked.append(proof)
        if self.script is not None:
            return self.script(proof)
        return None if self.proofs & {proof.identifier.value, "*"} else NOT_THERE

    def relevant_caa(
        self, name: str, settings: ValidationSettings, deadline: Deadline
    ) -> tuple[CAARecord, ...] | Problem:
        self.asked_caa.append(name)
        return self.caa.get(name, ())

    def ask_time(
        self,
        servers: Sequence[str],
        timepiece: Timepiece,
        deadline: Deadline,
        enough: Callable[[Sequence[TimeAnswer]], bool],
    ) -> list[TimeAnswer]:
        """Over real sockets: tests bring their own servers, which answer late on a machine that has much to do."""
        return ask_servers(servers, timepiece, SystemEntropy(), Deadline.within(self.patience), enough)
