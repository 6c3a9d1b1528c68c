"""One conversation of the demo world: who writes what, when, and what the agent did for it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from . import labels, tooling
from .corpus import AWKWARD_TEXTS, MEDIA
from .identity import anonymous_id
from .model import Company, Message
from .moments import print_moment
from .scenarios import (
    AGENT_FOLLOW_UPS,
    ANGRY,
    CAMPAIGNS,
    FOLLOW_UPS,
    OPERATOR_TEXTS,
    SYSTEM_TEXTS,
    THANKS,
    Scenario,
)
from .tooling import Facts, Incident


@dataclass(slots=True)
class Cast:
    """Everything of a company that its conversations share.

    Attributes:
        company: The company.
        seed: The seed of the world.
        agents: The `agent` objects of its AI agents.
        operators: Names of its people.
        incident: The stretch in which one of its tools fails.
        awkward: Odds that a text or an argument is an awkward one.
        served: Counts awkward texts, so that each of them comes up.
    """

    company: Company
    seed: int
    agents: list[dict[str, Any]]
    operators: tuple[str, ...]
    incident: Incident
    awkward: float
    served: int = 0

    def identify(self, prefix: str, name: object) -> str:
        """Return an anonymised id of this company."""
        return anonymous_id(prefix, self.seed, self.company.id, name)


@dataclass(slots=True)
class Conversation:
    """Writes the messages of one conversation in order.

    Attributes:
        cast: The company's cast.
        number: The number of the conversation within the company.
        channel: Its platform.
        facts: What the texts are filled with.
        moment: The time of the latest message.
        rng: Source of chance.
        agent: The agent that answers.
        threaded: Whether `thread_position` is filled.
        messages: The messages so far, each with its time.
    """

    cast: Cast
    number: int
    channel: str
    facts: Facts
    moment: datetime
    rng: random.Random
    agent: dict[str, Any]
    threaded: bool
    messages: list[tuple[datetime, Message]] = field(default_factory=list)

    def play(self, scenario: Scenario) -> None:
        """Write the whole conversation."""
        rng = self.rng
        if rng.random() < 0.07:
            self._campaign()
            if rng.random() < 0.62:
                return
        upset = rng.random() < scenario.mood
        self._contact(rng.choice(scenario.asks), scenario, upset)
        if rng.random() < 0.05:
            self._album(scenario)
        failed = self._agent(rng.choice(scenario.answers), scenario.tools)
        for _ in range(rng.choices((0, 1, 2, 3), (3, 4, 3, 1))[0]):
            upset = upset or (failed and rng.random() < 0.3)
            self._contact(rng.choice(ANGRY if upset and rng.random() < 0.5 else FOLLOW_UPS), scenario, upset)
            tools = scenario.tools[:1] if rng.random() < 0.2 else ()
            failed = self._agent(rng.choice(AGENT_FOLLOW_UPS), tools) or failed
        handed_off = rng.random() < min(0.97, scenario.handoff + (0.35 if failed else 0))
        self.messages[-1][1]["classifications"] = labels.judge(handed_off, rng)
        if handed_off:
            self._operator_takes_over(scenario, upset)
        elif rng.random() < 0.6:
            self._contact(rng.choice(THANKS), scenario, False)

    def _campaign(self) -> None:
        text = CAMPAIGNS[self.cast.company.kind]
        self._add("outbound", {"type": "system", "id": None, "display_name": None}, "template", text)
        self.moment += timedelta(minutes=self.rng.lognormvariate(3, 1))

    def _operator_takes_over(self, scenario: Scenario, upset: bool) -> None:
        rng = self.rng
        operator = rng.choice(self.cast.operators)
        self.facts["operator"] = operator
        self._pass(seconds=2)
        self._add("outbound", {"type": "system", "id": None, "display_name": None}, "text", rng.choice(SYSTEM_TEXTS))
        # Each person has a pace of their own, so that response times differ between operators.
        pace = 4 + 9 * self.cast.operators.index(operator)
        author = {"type": "operator", "id": self.cast.identify("op", operator), "display_name": operator}
        for _ in range(rng.choices((1, 2, 3), (3, 4, 2))[0]):
            self._pass(seconds=60 * rng.lognormvariate(0, 0.8) * pace)
            self._add("outbound", author, "text", self._text(rng.choice(OPERATOR_TEXTS)))
            if rng.random() < 0.75:
                self._contact(rng.choice(ANGRY if upset and rng.random() < 0.3 else THANKS), scenario, upset)

    def _contact(self, text: str, scenario: Scenario, upset: bool) -> None:
        rng = self.rng
        if self.messages:
            self._pass(seconds=rng.lognormvariate(4, 1.1))
        kind = rng.choices(
            ("text", "audio", "image", "sticker", "location", "document", "video"), (86, 5, 4, 2, 1, 1.5, 0.5)
        )[0]
        message = self._add("inbound", self._contact_author(), kind, self._text(text) if kind == "text" else None)
        if kind == "text":
            message["classifications"] = labels.classify(scenario, upset, rng)
            if rng.random() < 0.3:
                message["extractions"] = labels.extract(self.facts, rng)
        if len(self.messages) > 2 and rng.random() < 0.12:
            message["context"]["reply_to_message_id"] = rng.choice(self.messages[:-1])[1]["message_id"]

    def _album(self, scenario: Scenario) -> None:
        # Photos sent together carry one time: ties that a page edge may cut through.
        self._pass(seconds=self.rng.uniform(1, 8))
        for _ in range(self.rng.randint(2, 4)):
            self._add("inbound", self._contact_author(), "image", self.rng.choice((None, "", "así vino")))

    def _agent(self, text: str, tools: tuple[str, ...]) -> bool:
        rng, cast = self.rng, self.cast
        self._pass(seconds=rng.lognormvariate(1.6, 0.5))
        started = self.moment
        calls = [tooling.call(name, self.facts, started, rng, cast.incident, cast.awkward) for name in tools]
        failed = any(item["status"] == "error" for item in calls)
        if failed:
            self._pass(seconds=rng.uniform(5, 20))
            text = "Disculpá, tuve un problema al consultarlo. Dame un momento."
        author = {"type": "agent", "id": cast.identify("agt", self.agent["id"]), "display_name": self.agent["name"]}
        message = self._add("outbound", author, "text", self._fill(text))
        message["agent"] = dict(self.agent)
        message["tool_calls"] = calls
        message["trace_id"] = f"{rng.getrandbits(128):032x}"
        return failed

    def _contact_author(self) -> dict[str, Any]:
        return {"type": "contact", "id": self.cast.identify("ctc", self.facts["contact"]), "display_name": None}

    def _pass(self, seconds: float) -> None:
        self.moment += timedelta(microseconds=int(seconds * 1_000_000) + 1)

    def _fill(self, text: str) -> str:
        return text.format_map(self.facts)

    def _text(self, text: str) -> str:
        if self.rng.random() < self.cast.awkward:
            self.cast.served += 1
            return AWKWARD_TEXTS[self.cast.served % len(AWKWARD_TEXTS)]
        return self._fill(text)

    def _add(self, direction: str, author: dict[str, Any], kind: str, text: str | None) -> Message:
        position = len(self.messages)
        name = f"{self.number}:{position}"
        mime, ending = MEDIA.get(kind, (None, None))
        company = self.cast.company
        moment = self.moment
        if self.channel.startswith("MANYCHAT") or self.rng.random() < 0.08:
            # These platforms report whole seconds: times without a fraction.
            moment = moment.replace(microsecond=0)
        message: Message = {
            "message_id": self.cast.identify("msg", name),
            "conversation_id": self.cast.identify("conv", self.number),
            "occurred_at": print_moment(moment),
            "channel": self.channel,
            "direction": direction,
            "author": author,
            "agent": None,
            "content": {
                "type": kind,
                "text": self._fill(text) if kind == "template" and text else text,
                "media_url": f"https://media.mindo.example/{company.id}/{name.replace(':', '-')}.{ending}"
                if mime
                else None,
                "media_mime": mime,
            },
            "context": {"reply_to_message_id": None, "thread_position": position + 1 if self.threaded else None},
            "metadata": {
                "client_id": self.cast.identify("cmp", company.id),
                "company_id": company.id,
                "schema_version": "1.0",
            },
            "classifications": [],
            "extractions": [],
            "tool_calls": [],
            "trace_id": None,
        }
        self.messages.append((moment, message))
        return message
