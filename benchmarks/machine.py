"""What a figure depends on: the machine and the versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx

from operations.endpoints import broker_login


def machine_facts(amqp_url: str, management: str) -> dict[str, str | int]:
    """Return the facts about this machine, and the broker's version as it reports it itself."""
    login = broker_login(amqp_url)
    with httpx.Client(auth=(login.user, login.password), trust_env=False) as api:
        overview = api.get(f"{management}/api/overview").raise_for_status().json()
    return {
        "cores": os.cpu_count() or 0,
        "cpu": _cpu_model(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "event loop": _package("uvloop"),
        "broker": f"RabbitMQ {overview['rabbitmq_version']}, Erlang {overview['erlang_version']}",
        "database": f"{_package('secantusdb')}, embedded, each commit synced, a process a service",
        "log level": os.environ.get("LOG_LEVEL", "info"),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""
