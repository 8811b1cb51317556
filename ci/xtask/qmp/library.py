"""Uses a monitor as programs do that are written with the public library qemu.qmp.

The monitor listens at the path given. Prints a line for each check, "pass" or "fail" first.
"""

import asyncio
import sys

from qemu.qmp import ExecuteError, QMPClient


async def connected(path):
    client = QMPClient("test")
    await client.connect(path)
    return client


async def versions(client):
    """The greeting's version is that of query-version."""
    version = await client.execute("query-version")
    assert set(version) == {"qemu", "package"}, version
    assert await client.execute("query-status") == {"running": True, "status": "running"}


async def schema(client):
    """Every command and event is described by types that are described as well."""
    entities = await client.execute("query-qmp-schema")
    types = {e["name"]: e for e in entities if e["meta-type"] not in ("command", "event")}
    commands = {e["name"]: e for e in entities if e["meta-type"] == "command"}
    listed = {row["name"] for row in await client.execute("query-commands")}
    assert set(commands) == listed, set(commands) ^ listed
    assert len(entities) == len(types) + len(commands) + len(
        [e for e in entities if e["meta-type"] == "event"]
    ), "names are given once"
    for entity in entities:
        for key in ("arg-type", "ret-type"):
            assert entity.get(key, "any") in types, entity
        if "arg-type" in entity:
            assert types[entity["arg-type"]]["meta-type"] == "object", entity
    for kind in types.values():
        for member in kind.get("members", []):
            assert member["type"] in types, kind


async def errors(client):
    """Errors have the class that programs act on."""
    for command, arguments, wanted in (
        ("no-such-command", {}, "CommandNotFound"),
        ("qmp_capabilities", {}, "CommandNotFound"),
        ("device_del", {"id": "none"}, "DeviceNotFound"),
        ("stop", {"now": True}, "GenericError"),
        ("block_resize", {"device": "none", "size": 512}, "GenericError"),
    ):
        try:
            await client.execute(command, arguments)
        except ExecuteError as error:
            assert error.error_class == wanted, (command, error.error_class)
        else:
            raise AssertionError(command)


async def events(client):
    """Stopping and going on is told to those who listen."""
    with client.listener(("STOP", "RESUME")) as listener:
        await client.execute("stop")
        await client.execute("cont")
        names = [(await asyncio.wait_for(listener.get(), 10))["event"] for _ in range(2)]
    assert names == ["STOP", "RESUME"], names


async def objects(client):
    """Objects and devices come, are found and go."""
    await client.execute("object-add", {"qom-type": "rng-builtin", "id": "library"})
    children = await client.execute("qom-list", {"path": "/objects"})
    assert {"name": "library", "type": "child<rng-builtin>"} in children, children
    await client.execute("object-del", {"id": "library"})
    for device in await client.execute("qom-list-types", {"implements": "device"}):
        properties = await client.execute("device-list-properties", {"typename": device["name"]})
        assert all("name" in row and "type" in row for row in properties), device


async def many(client):
    """Commands that are sent at the same time are answered each by its own."""
    answers = await asyncio.gather(
        *(client.execute("qom-list", {"path": "/machine"}) for _ in range(200))
    )
    assert all(answer == answers[0] for answer in answers)


async def farewell(client):
    """The monitor ends with the machine, in order."""
    with client.listener(("SHUTDOWN",)) as listener:
        await client.execute("quit")
        event = await asyncio.wait_for(listener.get(), 10)
    assert event["data"] == {"guest": False, "reason": "host-qmp-quit"}, event


async def run(path):
    good = True
    for check in (versions, schema, errors, events, objects, many, farewell):
        client = await connected(path)
        try:
            await check(client)
            print("pass", check.__name__, check.__doc__, flush=True)
        except Exception as error:  # pylint: disable=broad-except
            good = False
            print("fail", check.__name__, repr(error), flush=True)
        try:
            await client.disconnect()
        except Exception as error:  # pylint: disable=broad-except
            if check is not farewell:
                good = False
                print("fail", check.__name__, "disconnect:", repr(error), flush=True)
    return good


sys.exit(0 if asyncio.run(run(sys.argv[1])) else 1)
