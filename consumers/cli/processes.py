"""Processes of `raie up`: their numbers, checked before any is started, and the command line of each by name."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from consumers.http.listening import bracketed
from pipeline.config import Config
from pipeline.errors import RaieError
from pipeline.streams.topics import name_in

RAIE = (sys.executable, "-m", "consumers.cli.main")
"""Start of a command line of this program."""

ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Address that stands for all of a machine -> the one by which its own processes reach it."""

LAST_PORT = 65_535


class Numbers(NamedTuple):
    """Number of processes of each kind; of the monitors one works, and the others stand by."""

    gates: int = 1
    trainers: int = 1
    servers: int = 0
    ingests: int = 0
    monitors: int = 1


def check_numbers(numbers: Numbers, config: Config) -> None:
    """Check that each process would have something to do, and an address.

    Raises:
        RaieError: lists every problem, each with what to do.
    """
    problems = [*_of_gates(numbers.gates, config), *_of_servers(numbers.servers, config)]
    if problems:
        raise RaieError("\n".join(problems))


def environment_of(numbers: Numbers, config: Config, cores: int) -> dict[str, str]:
    """Variables of the processes: each has its share of the cores, as threads that wait for a busy core cost time.

    In lockstep a sum by another number of threads is not a replay's, so that number stays what it is for all programs.

    Args:
        numbers: of processes.
        config: the whole tree.
        cores: of this machine.
    """
    if config.consumers.lockstep:
        return {}
    computing = numbers.gates + numbers.trainers + numbers.servers
    return {"OMP_NUM_THREADS": str(max(1, cores // computing))}


def stages_of(root: Path, generation: int, numbers: Numbers, options: Sequence[str]) -> dict[str, list[str]]:
    """Command line of each stage of a generation, by name; the instance names are the same in each of them.

    Args:
        root: folder of its set-up.
        generation: its number.
        numbers: of processes.
        options: `--config` and `--set` of the user.
    """
    stages = [
        *(("gate", f"gate-{i}") for i in range(numbers.gates)),
        *(("monitor", f"monitor-{i}") for i in range(numbers.monitors)),
        *(("train", f"trainer-{i}") for i in range(numbers.trainers)),
    ]
    return {
        name_in(generation, name): [*RAIE, stage, "--root", str(root), "--instance", name, *options]
        for stage, name in stages
    }


def services_of(root: Path, numbers: Numbers, config: Config, options: Sequence[str]) -> dict[str, list[str]]:
    """Command line of each server and ingest service, by name; they follow the generations themselves.

    Several servers listen on `server.port` and the ports after it, and share the users by `server.peers`.
    """
    peers = peers_of(numbers.servers, config)
    commands = {f"ingest-{i}": [*RAIE, "ingest", *options] for i in range(numbers.ingests)}
    for place in range(numbers.servers):
        name = f"server-{place}"
        own = {"server.port": str(config.server.port + place)}
        if peers:
            own |= {"server.peers": json.dumps(peers), "server.place": str(place)}
        settings = [word for key, value in own.items() for word in ("--set", f"{key}={value}")]
        # Behind the user's options: of one name the last counts.
        commands[name] = [*RAIE, "serve", "--root", str(root), "--instance", name, *options, *settings]
    return commands


def peers_of(servers: int, config: Config) -> list[str]:
    """Base URLs of several servers of this machine: the configured ones, else by address and port; of one none."""
    if servers < 2 or config.server.peers:
        return list(config.server.peers)
    host = bracketed(ANY.get(config.server.host, config.server.host))
    return [f"http://{host}:{config.server.port + place}" for place in range(servers)]


def _of_gates(gates: int, config: Config) -> list[str]:
    problems, partitions = [], config.log.partitions
    if gates > partitions:
        problems.append(
            f"--gates {gates}: every gate needs a partition of `interactions`, and there are {partitions} "
            f"(log.partitions). Start at most {partitions}, or begin a new log by `raie topics create --set "
            f"log.partitions={gates}`: a log keeps the number that it was created with"
        )
    if gates > 1 and config.consumers.lockstep:
        problems.append(f"--gates {gates}: consumers.lockstep needs exactly one gate: turn it off, or start one gate")
    return problems


def _of_servers(servers: int, config: Config) -> list[str]:
    settings, peers = config.server, config.server.peers
    if peers and servers and len(peers) != servers:
        return [
            f"--servers {servers}: server.peers names {len(peers)} servers: name one for each, or leave it empty, and "
            "they are named by address and port"
        ]
    if servers < 2:
        return []
    problems = []
    if servers > config.log.partitions:
        problems.append(
            f"--servers {servers}: servers share the users by partition, and there are {config.log.partitions} "
            "(log.partitions): start at most as many"
        )
    if not settings.port or settings.port + servers - 1 > LAST_PORT:
        problems.append(
            f"--servers {servers}: they listen on server.port and the ports after it, and that is {settings.port}: "
            f"set it to one from 1 to {LAST_PORT - servers + 1}"
        )
    if config.access.certificate and not peers:
        problems.append(
            f"--servers {servers}: servers with access.certificate know each other by the name that it was made for: "
            "set server.peers to their URLs, as [https://NAME:8080, https://NAME:8081]"
        )
    return problems
