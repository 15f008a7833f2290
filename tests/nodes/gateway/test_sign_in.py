"""Signing in: the right password, the lock-out, cookies that end."""

from __future__ import annotations

import asyncio
import time

import pytest

from nodes.gateway import sign_in as sign_in_module
from nodes.gateway.credentials import make
from nodes.gateway.sign_in import MAX_FAILURES, MAX_FAILURES_OF_ADDRESS, MAX_FAILURES_OF_AGENT, Refused, SignIn

PASSWORD, SECRET = "correct horse", b"s" * 32
AGENTS = {name: make(name, name, [], PASSWORD, bytes(16)) for name in ("ada", "bob")}


async def refusal(sign_in: SignIn, agent: str, password: str, address: str = "1.2.3.4") -> Refused:
    with pytest.raises(Refused) as caught:
        await sign_in.sign_in(agent, password, address)
    return caught.value


def test_the_cookie_is_the_agent_s_until_it_signs_out() -> None:
    async def story() -> None:
        here, there = SignIn(SECRET, AGENTS), SignIn(SECRET, AGENTS)
        known, cookie = await here.sign_in("ada", PASSWORD, "1.2.3.4")
        assert known is AGENTS["ada"] and here.agent(cookie) is known
        assert there.agent(cookie) is known, "another gateway with the same secret takes it"
        assert SignIn(b"t" * 32, AGENTS).agent(cookie) is None
        assert SignIn(SECRET, {"bob": AGENTS["bob"]}).agent(cookie) is None, "not an agent any more"
        assert SignIn(SECRET, {"ada": make("ada", "ada", [], PASSWORD, b"1" * 16)}).agent(cookie) is None
        for nonsense in (None, "", "x", cookie[:-1], cookie + "x"):
            assert here.agent(nonsense) is None
        nonce = here.nonce(cookie)
        assert nonce is not None and here.nonce("nonsense") is None
        for each in (here, there):
            each.end(nonce)
            assert each.agent(cookie) is None and each.nonce(cookie) is None

    asyncio.run(story())


def test_an_unknown_agent_and_a_wrong_password_are_refused_alike() -> None:
    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        refusals = [await refusal(sign_in, "ada", "wrong horse"), await refusal(sign_in, "nobody", PASSWORD)]
        assert refusals[0] == refusals[1] and refusals[0].retry_after_s == 0

    asyncio.run(story())


def test_after_too_many_failures_even_the_right_password_is_refused_there_and_only_there() -> None:
    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        for _ in range(MAX_FAILURES):
            assert (await refusal(sign_in, "ada", "wrong horse", "10.0.0.1")).retry_after_s == 0
        assert (await refusal(sign_in, "ada", PASSWORD, "10.0.0.1")).retry_after_s > 60
        await sign_in.sign_in("bob", PASSWORD, "10.0.0.1")
        await sign_in.sign_in("ada", PASSWORD, "10.1.1.1")

    asyncio.run(story())


def test_many_addresses_together_have_few_guesses_for_one_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_module, "is_right", lambda known, password: password == PASSWORD)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        for number in range(MAX_FAILURES_OF_AGENT):
            assert (await refusal(sign_in, "ada", "wrong horse", f"10.0.0.{number}")).retry_after_s == 0
            if number == MAX_FAILURES:
                await sign_in.sign_in("ada", PASSWORD, "10.1.1.1")  # does not make the others' guesses forgotten
        assert (await refusal(sign_in, "ada", PASSWORD, "10.1.1.1")).retry_after_s > 60
        await sign_in.sign_in("bob", PASSWORD, "10.0.0.1")

    asyncio.run(story())


def test_one_address_cannot_go_through_all_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_module, "is_right", lambda known, password: password == PASSWORD)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        for number in range(MAX_FAILURES_OF_ADDRESS):
            assert (await refusal(sign_in, f"agent{number}", "wrong horse")).retry_after_s == 0
        assert (await refusal(sign_in, "bob", PASSWORD)).retry_after_s > 60
        await sign_in.sign_in("bob", PASSWORD, "5.6.7.8")

    asyncio.run(story())


def test_tries_at_once_do_not_pass_the_lock_out(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[float] = []

    def slow(known: object, password: str) -> bool:
        checked.append(time.monotonic())
        return False

    monkeypatch.setattr(sign_in_module, "is_right", slow)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        tries = [sign_in.sign_in("ada", f"guess number {n}", "1.2.3.4") for n in range(100)]
        refused = await asyncio.gather(*tries, return_exceptions=True)
        assert all(isinstance(each, Refused) for each in refused)
        assert len(checked) <= MAX_FAILURES + sign_in_module.AT_ONCE

    asyncio.run(story())
