"""Signing in: the right password, the lock-out, cookies that end."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from nodes.gateway import sign_in as sign_in_module
from nodes.gateway.credentials import NOBODY, Credential, make
from nodes.gateway.ended import cookie_name
from nodes.gateway.sign_in import MAX_FAILURES, MAX_FAILURES_OF_AGENT, MAX_FAILURES_OF_HOST, MAX_OF_ONE, Refused, SignIn

PASSWORD, SECRET = "correct horse", b"s" * 32
AGENTS = {name: make(name, name, [], PASSWORD, bytes(16)) for name in ("ada", "bob")}


async def refusal(
    sign_in: SignIn, agent: str, password: str, host: str = "1.2.3.4", device: str | None = None
) -> Refused:
    with pytest.raises(Refused) as caught:
        await sign_in.sign_in(agent, password, host, device)
    return caught.value


def test_the_cookie_is_the_agent_s_until_it_signs_out() -> None:
    async def story() -> None:
        ended: set[str] = set()
        here, there = SignIn(SECRET, AGENTS, ended), SignIn(SECRET, AGENTS, ended)
        known, cookie, _ = await here.sign_in("ada", PASSWORD, "1.2.3.4")
        assert known is AGENTS["ada"] and here.agent(cookie) is known
        assert there.agent(cookie) is known, "another gateway with the same secret takes it"
        assert SignIn(b"t" * 32, AGENTS).agent(cookie) is None
        assert SignIn(SECRET, {"bob": AGENTS["bob"]}).agent(cookie) is None, "not an agent any more"
        assert SignIn(SECRET, {"ada": make("ada", "ada", [], PASSWORD, b"1" * 16)}).agent(cookie) is None
        for nonsense in (None, "", "x", cookie[:-1], cookie + "x"):
            assert here.agent(nonsense) is None
        nonce = here.nonce(cookie)
        assert nonce is not None and here.nonce("nonsense") is None
        ended.add(cookie_name(nonce))
        for each in (here, there):
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
        for number in range(MAX_FAILURES_OF_HOST):
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
        assert len(checked) == MAX_FAILURES

    asyncio.run(story())


def test_a_stranger_s_wrong_passwords_do_not_lock_the_agent_out_where_it_has_signed_in_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifty wrong ones from ten hosts closed the door to the agent for five minutes, and again and again."""
    monkeypatch.setattr(sign_in_module, "is_right", lambda known, password: password == PASSWORD)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        _, _, device = await sign_in.sign_in("ada", PASSWORD, "10.1.1.1")
        _, _, of_bob = await sign_in.sign_in("bob", PASSWORD, "10.1.1.2")
        for number in range(MAX_FAILURES_OF_AGENT):
            await refusal(sign_in, "ada", "wrong horse", f"10.0.0.{number % 10}")
            await refusal(sign_in, "ada", "wrong horse", "10.1.1.1")  # from behind the same address, too
        assert (await refusal(sign_in, "ada", PASSWORD, "10.2.2.2")).retry_after_s > 60
        assert (await refusal(sign_in, "ada", PASSWORD, "10.1.1.1", of_bob)).retry_after_s > 60, "it is not Ada's"
        for host in ("10.1.1.1", "10.0.0.1", "10.9.9.9"):
            known, _, device = await sign_in.sign_in("ada", PASSWORD, host, device)
            assert known is AGENTS["ada"]
        await SignIn(SECRET, AGENTS).sign_in("ada", PASSWORD, "10.1.1.1", device)

    asyncio.run(story())


def test_a_known_browser_has_few_guesses_too_and_they_are_counted_for_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_module, "is_right", lambda known, password: password == PASSWORD)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        _, _, one = await sign_in.sign_in("ada", PASSWORD, "10.1.1.1")
        _, _, two = await sign_in.sign_in("ada", PASSWORD, "10.1.1.1")
        for number in range(MAX_FAILURES):
            assert (await refusal(sign_in, "ada", "wrong horse", f"10.0.0.{number}", one)).retry_after_s == 0
        assert (await refusal(sign_in, "ada", PASSWORD, "10.1.1.1", one)).retry_after_s > 60
        await sign_in.sign_in("ada", PASSWORD, "10.1.1.1", two)
        await sign_in.sign_in("ada", PASSWORD, "10.1.1.1")

    asyncio.run(story())


def test_agents_share_a_browser_and_a_browser_s_cookie_is_no_agent_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_module, "is_right", lambda known, password: password == PASSWORD)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        _, cookie, device = await sign_in.sign_in("ada", PASSWORD, "10.1.1.1")
        _, _, device = await sign_in.sign_in("bob", PASSWORD, "10.1.1.1", device)
        for agent in ("ada", "bob"):
            for number in range(MAX_FAILURES_OF_AGENT):
                await refusal(sign_in, agent, "wrong horse", f"10.0.{number}.1")
            await sign_in.sign_in(agent, PASSWORD, "10.1.1.1", device)
        assert sign_in.agent(device) is None and sign_in.agent(cookie) is AGENTS["ada"]
        for not_a_device in (cookie, device[:-1], "x", ""):
            assert (await refusal(sign_in, "ada", PASSWORD, "10.1.1.1", not_a_device)).retry_after_s > 60

    asyncio.run(story())


def test_a_crowd_of_invented_ids_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty at once filled the queue: the right password was refused in 27 of 28 tries."""
    nobody = threading.Lock()
    together: list[bool] = []

    def slow(known: object, password: str) -> bool:
        if known is NOBODY:
            together.append(nobody.acquire(blocking=False))
            time.sleep(0.02)
            nobody.release()
        return password == PASSWORD

    monkeypatch.setattr(sign_in_module, "is_right", slow)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        tries = [
            asyncio.create_task(refusal(sign_in, f"invented{number}", "wrong horse", f"10.0.{number // 5}.1"))
            for number in range(200)
        ]
        await asyncio.sleep(0)
        for number in range(5):
            await sign_in.sign_in("bob", PASSWORD, f"10.1.1.{number}")
        refused = await asyncio.gather(*tries)
        assert {each.why for each in refused} == {"no agent has this id and password"}, "as for an agent's id"
        assert together and all(together), "one of them at most takes a core"

    asyncio.run(story())


def test_a_crowd_from_one_host_takes_few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_module, "is_right", lambda known, password: password == PASSWORD)

    async def story() -> None:
        for ids in (["ada"] * 60, [f"invented{number}" for number in range(60)]):
            sign_in = SignIn(SECRET, AGENTS)
            refused = await asyncio.gather(*(refusal(sign_in, each, "wrong horse", "10.0.0.1") for each in ids))
            busy = [each for each in refused if each.why == "too many sign in at once"]
            assert len(busy) == len(ids) - MAX_OF_ONE, "the same for ids that there are and that there are not"
            await sign_in.sign_in("bob", PASSWORD, "10.1.1.1")

    asyncio.run(story())


def test_an_id_that_no_agent_has_takes_as_long_as_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone it costs a check of nobody's password; in a crowd it waits for as long as the last check took."""
    checked: list[str] = []
    waited: list[float] = []

    def slow(known: Credential, password: str) -> bool:
        checked.append(known.agent)
        time.sleep(0.05)
        return False

    sleep = asyncio.sleep

    async def counted(delay_s: float) -> None:
        waited.append(delay_s)
        await sleep(0)

    monkeypatch.setattr(sign_in_module, "is_right", slow)
    monkeypatch.setattr("nodes.gateway.sign_in.asyncio.sleep", counted)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        await refusal(sign_in, "ada", "wrong horse")
        await refusal(sign_in, "nobody", "wrong horse")
        assert checked == ["ada", ""] and waited == []
        await asyncio.gather(*(refusal(sign_in, f"nobody{n}", "x", f"10.0.0.{n}") for n in range(4)))
        assert checked == ["ada", "", ""] and len(waited) == 3 and all(each >= 0.05 for each in waited)

    asyncio.run(story())


def test_an_id_that_no_agent_has_waits_behind_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def slow(known: Credential, password: str) -> bool:
        order.append(known.agent)
        time.sleep(0.01)
        return False

    monkeypatch.setattr(sign_in_module, "is_right", slow)

    async def story() -> None:
        sign_in = SignIn(SECRET, AGENTS)
        tries = [refusal(sign_in, "ada", "wrong horse", f"10.0.0.{number}") for number in range(5)]
        await asyncio.gather(*tries, refusal(sign_in, "nobody", "wrong horse", "10.0.1.1"))
        assert order == ["ada"] * 5 + [""]

    asyncio.run(story())
